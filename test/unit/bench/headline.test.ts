import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { layersOf } from "../../../bench/headline/base-image.ts";
import { allCells, lanesOf, nameOf, parseCells } from "../../../bench/headline/cells.ts";
import { compressedBytesPerFile } from "../../../bench/headline/layers.ts";
import { renderSvg } from "../../../bench/headline/render-svg.ts";
import type { CellResult } from "../../../bench/headline/results.ts";
import { openSharedLink } from "../../../bench/headline/shared-link.ts";
import { summarize } from "../../../bench/headline/summarize.ts";

const times = (...totalMs: number[]) => totalMs.map((ms) => ({ totalMs: ms, wakeMs: 0, buildAndPushMs: ms, pullMs: 0 }));
const cell: CellResult = {
  sizeMb: 60,
  roundTripMs: 170,
  linkMbit: 20,
  lanes: 1,
  direct: { first: times(60_000, 50_000, 90_000), redeploy: times(4_000, 5_000, 6_000) },
  mirror: { first: times(2_000, 3_000, 2_500), redeploy: times(8_000, 7_000, 10_000) },
};
const results = { machine: {}, cells: { "60@170/20": cell, "60@1/1000": { ...cell, direct: { first: [], redeploy: [] } } } };

it("names cells as it reads them", () => {
  expect(parseCells(allCells.map(nameOf).join(","))).toEqual(allCells);
  expect(() => parseCells("60@170/100,300@fast")).toThrow('Cannot read cell "300@fast"');
});

it("measures side by side only where the link takes most of the time", () => {
  expect(allCells.map((each) => lanesOf(each, 5))).toEqual([1, 1, 1, 1, 1, 2, 1, 3, 5]);
});

it("makes layers that are together of the size of the cell", () => {
  for (const sizeMb of [60, 300, 1000]) {
    const bytes = layersOf(sizeMb).reduce((sum, layer) => sum + layer.files * compressedBytesPerFile + layer.incompressibleBytes, 0);
    expect(Math.abs(bytes / 1e6 - sizeMb)).toBeLessThan(0.1);
  }
});

it("takes medians of cells with a whole round, and says so when the mirror is slower", () => {
  expect(summarize(results)).toEqual({
    "60@170/20": {
      rounds: 3,
      lanes: 1,
      first: { directMs: 60_000, mirrorMs: 2_500, ratio: 24 },
      redeploy: { directMs: 5_000, mirrorMs: 8_000, ratio: 0.6 },
    },
  });
  const svg = renderSvg(results);
  expect(svg).toContain("60 s</text>");
  expect(svg).toContain("2.5 s · 24× faster");
  expect(svg).toContain("8 s · 1.7× slower");
  expect(svg).not.toContain("1 Gbit/s");
});

it("carries all bytes over the shared link, both ways, and its end", async () => {
  const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  await once(echo, "listening");
  await using link = await openSharedLink({ host: "127.0.0.1", port: (echo.address() as AddressInfo).port }, 1000);
  const [host, port] = link.address.split(":");
  const sent = randomBytes(300_000);
  const socket = connect({ host: host!, port: Number(port), allowHalfOpen: true });
  socket.end(sent);
  expect(Buffer.concat(await socket.toArray()).equals(sent)).toBe(true);
  echo.close();
});
