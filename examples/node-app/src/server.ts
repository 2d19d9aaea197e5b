// The web server: the page, its scripts, and the forecast as JSON.

import { readFile } from "node:fs/promises";
import path from "node:path";
import compress from "@fastify/compress";
import helmet from "@fastify/helmet";
import files from "@fastify/static";
import fastify from "fastify";
import { render } from "./render";
import { forecast, forecastQuery } from "./tides";

const root = path.resolve(import.meta.dirname, "../..");
const client = path.join(root, "dist/client");
const template = await readFile(path.join(client, "index.html"), "utf8");
const banner = (await readFile(path.join(root, "config/banner.txt"), "utf8")).trim();

const server = fastify({ logger: true });
await server.register(helmet, {
  // Emotion writes its styles into the page. TLS, if any, ends before this server.
  contentSecurityPolicy: { directives: { styleSrc: ["'self'", "'unsafe-inline'"], upgradeInsecureRequests: null } },
});
await server.register(compress);
await server.register(files, {
  root: path.join(client, "assets"),
  prefix: "/assets/",
  preCompressed: true,
  immutable: true,
  maxAge: "1y",
});

server.get("/", async (_request, reply) =>
  reply.type("text/html").send(render(template, { banner, forecast: forecast(new Date(), 24) })),
);

server.get("/api/forecast", async (request, reply) => {
  const query = forecastQuery.safeParse(request.query);
  if (!query.success) return reply.code(400).send({ errors: query.error.issues.map(({ message }) => message) });
  return forecast(query.data.from ?? new Date(), query.data.hours);
});

// A container's first process gets no default handlers: without these it would be killed after the grace period.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void server.close());

await server.listen({ host: process.env.HOST ?? "0.0.0.0", port: Number(process.env.PORT ?? 3000) });
