/** Media types of OCI image-spec 1.1 and Docker image manifest schema 2. */
export const mediaTypes = {
  imageManifest: "application/vnd.oci.image.manifest.v1+json",
  imageIndex: "application/vnd.oci.image.index.v1+json",
  imageConfig: "application/vnd.oci.image.config.v1+json",
  layerTar: "application/vnd.oci.image.layer.v1.tar",
  layerTarGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  layerTarZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  emptyJson: "application/vnd.oci.empty.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerManifestList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  dockerLayerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
} as const;

const manifestTypes: ReadonlySet<string> = new Set([mediaTypes.imageManifest, mediaTypes.dockerManifest]);
const indexTypes: ReadonlySet<string> = new Set([mediaTypes.imageIndex, mediaTypes.dockerManifestList]);

const schema1Types: ReadonlySet<string> = new Set([
  "application/vnd.docker.distribution.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v1+prettyjws",
]);

/** Deprecated since 2015: its layers are named by a list that no digest of a config proves. */
export const isDockerSchema1Type = (mediaType: string): boolean => schema1Types.has(mediaType);
export const isImageManifestType = (mediaType: string): boolean => manifestTypes.has(mediaType);
export const isImageIndexType = (mediaType: string): boolean => indexTypes.has(mediaType);

/** The `Accept` header of a pull that understands all manifests we do. */
export const acceptManifests = [...manifestTypes, ...indexTypes].join(", ");
