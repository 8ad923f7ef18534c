import { imageNameRule, imageNameShape, provenanceModes, type SbomRequest } from "../../config/attestations.ts";
import type { ResolvedAppConfig } from "../../workflows/types.ts";
import { CliError } from "../errors.ts";

export type AttestationOptions = {
  /** `true` where no value was given */
  readonly provenance?: string | true;
  readonly sbom?: string | true;
};

type Attestations = Pick<ResolvedAppConfig["build"], "provenance" | "sbom">;

/** The option where it is given, else what the config says. @throws CliError */
export function chooseAttestations(options: AttestationOptions, config: Attestations): Attestations {
  const provenance = options.provenance === undefined ? config.provenance : readProvenance(options.provenance);
  const sbom = options.sbom === undefined ? config.sbom : readSbom(options.sbom);
  return { ...(provenance === undefined ? {} : { provenance }), ...(sbom === undefined ? {} : { sbom }) };
}

function readProvenance(given: string | true): Attestations["provenance"] {
  if (given === true || given === "true") return "min";
  if (given === "false") return undefined;
  const mode = provenanceModes.find((known) => given === known || given === `mode=${known}`);
  if (mode !== undefined) return mode;
  throw new CliError(`Cannot read --provenance "${given}": expected --provenance=mode=min, mode=max, true or false`);
}

function readSbom(given: string | true): SbomRequest | undefined {
  if (given === true || given === "true") return {};
  if (given === "false") return undefined;
  const generator = given.startsWith("generator=") ? given.slice("generator=".length) : "";
  if (imageNameShape.test(generator)) return { generator };
  throw new CliError(`Cannot read --sbom "${given}": expected --sbom=true, false or generator=IMAGE, with ${imageNameRule}`);
}
