import { createServer } from "node:http";
import ms from "ms";

const port = Number(process.env.PORT ?? 3000);

const server = createServer((request, response) => {
  if (request.url === "/healthz") return response.end("ok\n");
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(
    `${process.env.GREETING ?? "Hello"} from Node ${process.version}, up for ${ms(Math.round(process.uptime() * 1000), { long: true })}\n`,
  );
});

server.listen(port, () => console.log(`Listening on port ${port}`));

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close(() => process.exit(0)));
