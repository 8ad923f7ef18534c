/** What the stack's processes get of the environment of the `up` that starts them: not the keys and tokens that happen to be there. */
const wanted = [
  /^(HOME|PATH|LANG|TZ|TMPDIR|USER|LOGNAME)$/,
  /^LC_/,
  /^XDG_/,
  /^SLIPWAY_/,
  /^(http|https|no|all)_proxy$/i,
  /^(SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS)$/,
  /^TEMPORAL_/,
  /^AWS_/,
  /^OTEL_/,
];

export function stackEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => wanted.some((pattern) => pattern.test(name))));
}
