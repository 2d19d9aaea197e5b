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
import { format } from "date-fns";
import type { Forecast } from "./tides";

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
          xAxis={[{ data: readings.map(({ time }) => new Date(time)), scaleType: "time" }]}
          series={[{ data: readings.map(({ metres }) => metres), label: "metres", showMark: false }]}
        />
      </Paper>
      <Table size="small">
        <TableHead>
          <TableRow>
            <TableCell>Time</TableCell>
            <TableCell>Water</TableCell>
            <TableCell align="right">Height</TableCell>
          </TableRow>
        </TableHead>
        <TableBody>
          {turns.map(({ time, kind, metres }) => (
            <TableRow key={time}>
              <TableCell>{format(new Date(time), "EEE HH:mm")}</TableCell>
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
