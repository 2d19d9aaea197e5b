// The tide as a sum of cosines, one for each of the moon's and sun's larger pulls.

import { addMinutes } from "date-fns";
import { z } from "zod";

const MINUTES_BETWEEN_READINGS = 10;

// Amplitude in metres, speed in degrees an hour, phase in degrees. The speeds are astronomy's, the rest is one harbour's.
const CONSTITUENTS = [
  { name: "M2", amplitude: 2.1, speed: 28.9841042, phase: 153 },
  { name: "S2", amplitude: 0.7, speed: 30.0, phase: 201 },
  { name: "N2", amplitude: 0.4, speed: 28.4397295, phase: 128 },
  { name: "K1", amplitude: 0.1, speed: 15.0410686, phase: 98 },
  { name: "O1", amplitude: 0.1, speed: 13.9430356, phase: 337 },
];
const MEAN_LEVEL = 3.2;

export const forecastQuery = z.object({
  from: z.coerce.date().optional(),
  hours: z.coerce.number().int().min(6).max(72).default(24),
});

export interface Reading {
  time: string;
  metres: number;
}

export interface Turn extends Reading {
  kind: "high" | "low";
}

export interface Forecast {
  readings: Reading[];
  turns: Turn[];
}

export function height(time: Date): number {
  const hours = time.getTime() / 3_600_000;
  return CONSTITUENTS.reduce(
    (sum, { amplitude, speed, phase }) => sum + amplitude * Math.cos(((speed * hours - phase) * Math.PI) / 180),
    MEAN_LEVEL,
  );
}

export function forecast(from: Date, hours: number): Forecast {
  const count = (hours * 60) / MINUTES_BETWEEN_READINGS + 1;
  const readings = Array.from({ length: count }, (_, index) => {
    const time = addMinutes(from, index * MINUTES_BETWEEN_READINGS);
    return { time: time.toISOString(), metres: height(time) };
  });
  const turns = readings.slice(1, -1).flatMap((reading, index): Turn[] => {
    const [before, after] = [readings[index].metres, readings[index + 2].metres];
    if (reading.metres >= before && reading.metres > after) return [{ ...reading, kind: "high" }];
    if (reading.metres <= before && reading.metres < after) return [{ ...reading, kind: "low" }];
    return [];
  });
  return { readings, turns };
}
