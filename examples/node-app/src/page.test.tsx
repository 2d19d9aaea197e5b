// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { Page } from "./page";
import { forecast } from "./tides";

test("the page shows the banner and a row for each high and low water", () => {
  const { readings, turns } = forecast(new Date("2026-01-01T00:00:00Z"), 24);

  render(<Page banner="Mind the step" forecast={{ readings, turns }} />);

  expect(screen.getByText("Mind the step")).toBeTruthy();
  expect(screen.getAllByRole("row")).toHaveLength(turns.length + 1);
});
