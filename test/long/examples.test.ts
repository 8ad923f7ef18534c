import { afterAll, beforeAll, expect, it } from "vitest";
import { urlOf } from "../support/app-url.ts";
import { exampleDir, tinyApp } from "../support/apps.ts";
import { slipway } from "../support/slipway.ts";
import { type TestStack, startTestStack } from "../support/stack.ts";

let stack: TestStack;
beforeAll(async () => {
  stack = await startTestStack();
  const bases = await slipway(stack.dataDir, ["image", "bases", "golang", "debian", "busybox"]);
  expect(bases.code, bases.stderr).toBe(0);
});
afterAll(async () => {
  await stack?.stop();
});

it("the example go-web is compiled, deploys and answers", { timeout: 600_000 }, async () => {
  await using source = await exampleDir("go-web");
  const { code, stderr } = await slipway(stack.dataDir, ["deploy", source.dir]);
  expect(code, stderr).toBe(0);
  expect(await (await fetch(await urlOf(stack, "go-web"))).text()).toContain("Hello from go");
});

it("a step installs a package with apt-get, whose scripts make a user and give files to it", { timeout: 600_000 }, async () => {
  const postinst = "#!/bin/sh\\nuseradd --system greeter && chown greeter: /usr/bin/greet && chmod 4755 /usr/bin/greet\\n";
  const control = "Package: greet\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <nobody@example.invalid>\\nDescription: greets\\n";
  const dockerfile = `FROM debian:bookworm-slim AS made
RUN mkdir -p /p/DEBIAN /p/usr/bin && printf '${control}' > /p/DEBIAN/control && printf '${postinst}' > /p/DEBIAN/postinst && chmod 755 /p/DEBIAN/postinst && printf '#!/bin/sh\\necho hello\\n' > /p/usr/bin/greet && dpkg-deb --build /p /greet.deb
RUN apt-get install --yes /greet.deb && test "$(stat -c '%U %a' /usr/bin/greet)" = "greeter 4755" && su -s /bin/sh greeter -c /usr/bin/greet > /greeting
FROM busybox AS tools
FROM scratch
COPY --from=tools /bin/busybox /bin/busybox
COPY --from=made /greeting /www/index.html
ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-v", "-p", "8080", "-h", "/www"]
`;
  await using source = await tinyApp("greeter", "", { Dockerfile: dockerfile });
  const { code, stderr } = await slipway(stack.dataDir, ["deploy", source.dir]);
  expect(code, stderr).toBe(0);
  expect(await (await fetch(await urlOf(stack, "greeter"))).text()).toBe("hello\n");
});
