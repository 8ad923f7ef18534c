/** How much of a build its provenance tells: of `max` its arguments and the Dockerfile, too. */
export const provenanceModes = ["min", "max"] as const;
export type ProvenanceMode = (typeof provenanceModes)[number];

/** What makes an SBOM; without `generator` the one of the host's settings, or BuildKit's own. */
export type SbomRequest = { readonly generator?: string };

/** An image's name, with neither commas nor quotes: it goes into a list that BuildKit takes apart. */
export const imageNameShape = /^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/;
export const imageNameRule = 'an image such as "docker.io/docker/buildkit-syft-scanner:stable-1"';
