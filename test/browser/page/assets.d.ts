/** Vite gives the address at which it serves a file. */
declare module "*?url" {
  const address: string;
  export default address;
}
