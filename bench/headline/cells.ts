/** One cell of the table: an image of so many compressed megabytes, and the link to the far registry. */
export type Cell = { readonly sizeMb: number; readonly roundTripMs: number; readonly linkMbit: number };

export const allCells: readonly Cell[] = [
  { roundTripMs: 1, linkMbit: 1000 },
  { roundTripMs: 170, linkMbit: 100 },
  { roundTripMs: 170, linkMbit: 20 },
].flatMap((link) => [60, 300, 1000].map((sizeMb) => ({ sizeMb, ...link })));

/** `60@170/100`: 60 MB over a link of 170 ms and 100 Mbit/s. */
export const nameOf = ({ sizeMb, roundTripMs, linkMbit }: Cell): string => `${sizeMb}@${roundTripMs}/${linkMbit}`;

/** @throws Error naming the part that is no cell */
export function parseCells(text: string): Cell[] {
  return text.split(",").map((part) => {
    const [, sizeMb, roundTripMs, linkMbit] = /^(\d+)@(\d+)\/(\d+)$/.exec(part) ?? [];
    const cell = { sizeMb: Number(sizeMb), roundTripMs: Number(roundTripMs), linkMbit: Number(linkMbit) };
    if (!(cell.sizeMb > 0 && cell.roundTripMs >= 0 && cell.linkMbit > 0)) {
      throw new Error(`Cannot read cell "${part}": expected <MB>@<ms>/<Mbit>, as in 60@170/100`);
    }
    return cell;
  });
}

const secondsPerLane = 40;
const mostLanes = 5;

/**
 * How many rounds of the direct path run side by side, each over a link of its own: where the link alone takes long enough that they
 * wait for it and not for the processor.
 */
export function lanesOf({ sizeMb, linkMbit }: Cell, rounds: number): number {
  const transferSeconds = (sizeMb * 8) / linkMbit;
  return Math.max(1, Math.min(rounds, mostLanes, Math.floor(transferSeconds / secondsPerLane)));
}
