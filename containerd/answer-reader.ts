const prefixBytes = 5;

/** Cuts a stream of bytes into gRPC messages (a flag, a length, the message); those of a write stream are small. */
export function createAnswerReader(onMessage: (bytes: Uint8Array) => void): (chunk: Buffer) => void {
  let unread: Buffer = Buffer.alloc(0);
  return (chunk) => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    while (unread.length >= prefixBytes) {
      const end = prefixBytes + unread.readUInt32BE(1);
      if (unread.length < end) return;
      const message = unread.subarray(prefixBytes, end);
      unread = unread.subarray(end);
      onMessage(message);
    }
  };
}
