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
    jsonShapes,
    exitCodes,
  ].join("\n");
}

const jsonShapes = `## JSON

\`-o json\` prints one document. Names are in snake case and times in ISO 8601; what is not known is left out. Within \`schema_version\` 1
names may be added, and none is taken away or given another meaning. With \`-o jsonl\` a list is one item a line, and a followed run one event
a line (\`{ts, run_id, seq, type, …}\`), of which the last is the \`result\`.

| command                        | document                                                                                                                                                                                                                           |
| ------------------------------ | ---------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------- |
| \`deploy\`, \`watch\`, \`runs show\` | \`{schema_version, workflow_id, run_id, app, status, changed, release: {version, previous}, image: {ref, digest, size_bytes}, url, machines, steps, upload: {sent_bytes, total_bytes}, replication, error, links: {ui}}\`            |
| \`status\`                       | \`{schema_version, apps: [{org, app, url, release: {version, image_digest, created_at, commit}, machines, turn: {holder, waiting}, history, replication}]}\`                                                                         |
| \`machines list\`                | \`{schema_version, machines: [{org, app, version, …machine}]}\`                                                                                                                                                                      |
| \`image list\`                   | \`{schema_version, images: [{repository, digest, live_version, replication}]}\`                                                                                                                                                      |
| \`image prune\`                  | \`{schema_version, workflow_id, host, dry_run, free_bytes, low_disk, removed, kept, freed_bytes, aborted_ingests, removals, keeps, links: {ui}}\`                                                                                    |
| \`runs list\`                    | \`{schema_version, runs: [{workflow_id, app, key, status, version, commit: {sha, dirty}, started_at}]}\`                                                                                                                             |
| \`runs open\`                    | \`{schema_version, workflow_id, links: {ui}}\`                                                                                                                                                                                       |
| \`doctor\`                       | \`{schema_version, checks: [{name, ok, detail, fix}]}\`                                                                                                                                                                              |
| \`registry gc\`                  | \`{schema_version, workflow_id, dry_run, repositories, repository_blobs: counts, blobs: counts, stray_bytes_objects, links: {ui}}\`; without \`--wait\` only the workflow and its link                                                 |
| \`registry scrub\`               | \`{schema_version, workflow_id, blobs, bytes, repository_blobs, manifests, tags, damaged, damages: [{kind, key, expected, found, quarantined}], links: {ui}}\`                                                                       |
| \`builder status\`               | \`{schema_version, org, host, state, since, uses, version, cache: {size_bytes, in_use_bytes, records, max_bytes}, limits: {memory_mb, cpus, idle_timeout_ms}, user_namespace, problem}\`; state: running, suspended, stopped, absent |
| \`builder start\`                | \`{schema_version, org, woken_from}\`                                                                                                                                                                                                |
| \`builder stop\`                 | \`{schema_version, org, state}\`                                                                                                                                                                                                     |
| \`builder logs\`                 | \`{schema_version, line}\`, one a line                                                                                                                                                                                               |
| \`builder prune\`                | \`{schema_version, org, records, freed_bytes}\`                                                                                                                                                                                      |
| \`builder recreate\`             | \`{schema_version, org, cache}\`; cache: kept, dropped                                                                                                                                                                               |
| \`proxy builder\`                | \`{schema_version, org, address}\`, before it serves                                                                                                                                                                                 |
| \`tokens create\`                | \`{schema_version, token, …one of the list}\`                                                                                                                                                                                        |
| \`tokens list\`                  | \`{schema_version, tokens: [{id, name, org, app, actions, created_at, expires_at, revoked_at}]}\`                                                                                                                                    |
| \`demo\`                         | \`{url, ui, run, steps: [{name, ms}]}\`: the steps are those that this call took                                                                                                                                                     |

| part            | shape                                                                                                                            |
| --------------- | -------------------------------------------------------------------------------------------------------------------------------- |
| machine         | \`{id, host, group, state, healthy, address, image_digest}\`                                                                       |
| step            | \`{name, status, started_at, duration_ms}\`                                                                                        |
| replication     | \`{status, attempts, sent_bytes, total_bytes, next_attempt_at, last_error}\`; status: pending, running, retrying, durable, stopped |
| holder, waiting | \`{workflow_id, requested_at}\`; the holder also has its \`version\`                                                                 |
| history         | \`{version, workflow_id, status, at}\`; status: live, failed, cancelled, lost                                                      |
| counts          | \`{condemned, condemned_bytes, removed, removed_bytes, damaged}\`: records                                                         |
| removals        | \`{org, name, digest, reason, freed_bytes}\`: the first 200                                                                        |
| keeps           | \`{org, name, digest, reason}\`: the first 200                                                                                     |
| error           | \`{code, message, stage, retryable, serving, log_tail}\`                                                                           |
`;

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
| 13   | the registry stores something damaged (\`registry scrub\`)           | no               |
| 124  | this client stopped waiting, the run goes on                       | yes: attaches    |
| 130  | detached, the run goes on                                          | yes: attaches    |
`;
