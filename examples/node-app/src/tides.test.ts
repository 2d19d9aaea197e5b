import { expect, test } from "vitest";
import { forecast } from "./tides";

test("high and low water take turns", () => {
  const { turns } = forecast(new Date("2026-01-01T00:00:00Z"), 72);

  const kinds = turns.map(({ kind }) => kind);

  expect(kinds.length).toBeGreaterThanOrEqual(10);
  expect(kinds.every((kind, index) => index === 0 || kind !== kinds[index - 1])).toBe(true);
});
