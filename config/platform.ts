/** Of an image to be built: one, with its operating system. */
export const platformShape = /^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/;
export const platformRule = 'one platform such as "linux/amd64"';
