import { writeFileSync } from "node:fs";
import { cliReference, helpPages } from "./help-pages.ts";

writeFileSync(new URL("../../docs/cli.md", import.meta.url), cliReference(helpPages()));
