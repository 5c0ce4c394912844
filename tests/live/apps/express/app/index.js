// An app that was there before gen: it keeps the contract in its own way.
import express from "express";

const PORT = Number(process.env.PORT ?? 8080);
const DELAY_MS = Number(process.env.SHUTDOWN_DELAY ?? 1) * 1000;

let stopping = false;
const app = express();
app.use((request, response, next) => {
  if (stopping) response.set("Connection", "close");
  next();
});
app.get("/healthz", (request, response) => response.send("alive"));
app.get("/readyz", (request, response) => response.status(stopping ? 503 : 200).send());
app.get("/version", (request, response) => response.json({ version: process.env.APP_VERSION }));
app.get("/", (request, response) => response.send("Hello from Express"));
app.post("/echo", express.text(), (request, response) => response.send(request.body));

const server = app.listen(PORT, process.env.HOST ?? "0.0.0.0");
process.once("SIGTERM", () => {
  stopping = true;
  setTimeout(() => server.close(() => process.exit(0)), DELAY_MS);
});
