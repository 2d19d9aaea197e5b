// The page, rendered by the server and then again by the browser with the same forecast.

import { ArrowDownward, ArrowUpward } from "@mui/icons-material";
import {
  Alert,
  Container,
  CssBaseline,
  Paper,
  Table,
  TableBody,
  TableCell,
  TableHead,
  TableRow,
  Typography,
} from "@mui/material";
import { LineChart } from "@mui/x-charts/LineChart";
import type { Forecast } from "./tides";

// One time zone for the server and every browser: both must write the same text.
const clock = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  hour: "2-digit",
  minute: "2-digit",
  timeZone: "UTC",
});

export interface PageProps {
  banner: string;
  forecast: Forecast;
}

export function Page({ banner, forecast: { readings, turns } }: PageProps) {
  return (
    <Container maxWidth="md" component="main">
      <CssBaseline />
      <Typography variant="h3" component="h1" gutterBottom>
        Tide table
      </Typography>
      <Alert severity="info">{banner}</Alert>
      <Paper variant="outlined">
        <LineChart
          height={280}
          hideLegend
          xAxis={[{ data: readings.map(({ time }) => new Date(time)), scaleType: "utc" }]}
          series={[{ data: readings.map(({ metres }) => metres), label: "metres", showMark: false }]}
        />
      </Paper>
      <Table size="small">
        <TableHead>
          <TableRow>
            <TableCell>Time (UTC)</TableCell>
            <TableCell>Water</TableCell>
            <TableCell align="right">Height</TableCell>
          </TableRow>
        </TableHead>
        <TableBody>
          {turns.map(({ time, kind, metres }) => (
            <TableRow key={time}>
              <TableCell>{clock.format(new Date(time))}</TableCell>
              <TableCell>
                {kind === "high" ? <ArrowUpward fontSize="inherit" /> : <ArrowDownward fontSize="inherit" />} {kind}
              </TableCell>
              <TableCell align="right">{metres.toFixed(1)} m</TableCell>
            </TableRow>
          ))}
        </TableBody>
      </Table>
    </Container>
  );
}
