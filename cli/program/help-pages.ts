import type { Command } from "commander";
import { createProgram } from "./program.ts";

export type HelpPage = { readonly name: string; readonly text: string };

/** `--help` of every command, in the order of the program. */
export function helpPages(): HelpPage[] {
  const pages: HelpPage[] = [];
  const visit = (command: Command, parents: readonly string[]): void => {
    const name = [...parents, command.name()];
    let text = "";
    command.configureOutput({ writeOut: (part) => (text += part), getOutHasColors: () => false });
    command.outputHelp();
    pages.push({ name: name.join(" "), text });
    for (const child of command.commands) visit(child, name);
  };
  visit(
    createProgram(async () => {}),
    [],
  );
  return pages;
}

/** docs/cli.md: the same pages for readers. `node cli/program/write-reference.ts` writes it, a test compares it. */
export function cliReference(pages: readonly HelpPage[]): string {
  const sections = pages.map(({ name, text }) => `## \`${name}\`\n\n\`\`\`text\n${text.trimEnd()}\n\`\`\`\n`);
  return [
    "# Commands\n",
    "What each command's `--help` says; results are on stdout, everything else is on stderr.\n",
    ...sections,
    exitCodes,
  ].join("\n");
}

const exitCodes = `## Exit codes

| code | meaning                                                            | retry unchanged? |
| ---- | ------------------------------------------------------------------ | ---------------- |
| 0    | done, nothing to change, or detached as asked                      | –                |
| 1    | unexpected error                                                   | maybe            |
| 2    | arguments, slipway.toml, or a key that was used for another deploy | no               |
| 3    | build failed                                                       | no               |
| 4    | image was not imported or verified                                 | yes              |
| 6    | rollout failed, the previous release serves                        | no               |
| 9    | cancelled or superseded                                            | no               |
| 10   | control plane cannot be reached, nothing was started               | yes              |
| 11   | builder unavailable                                                | yes              |
| 12   | not replicated in time (\`--wait-for replicated\`)                   | yes              |
| 124  | this client stopped waiting, the run goes on                       | yes: attaches    |
| 130  | detached, the run goes on                                          | yes: attaches    |
`;
