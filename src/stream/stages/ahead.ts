/** Gives items 0, 1, 2 .. in turn; the next one is made while the caller is busy with the one before, unless there is no `room` for both. */
export function ahead<T>(
  count: number,
  make: (index: number) => Promise<T>,
  room = true,
): (index: number) => Promise<T> {
  let begun: { readonly index: number; readonly item: Promise<T> } | undefined;
  return async (index) => {
    const item = await (begun?.index === index ? begun.item : make(index));
    begun = undefined;
    if (room && index + 1 < count) {
      const next = make(index + 1);
      // A failure is told when its turn comes.
      next.catch(() => undefined);
      begun = { index: index + 1, item: next };
    }
    return item;
  };
}
