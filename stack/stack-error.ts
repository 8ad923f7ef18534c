/** The stack cannot be brought up or taken down: one message for the operator, that says what to do. */
export class StackError extends Error {
  override readonly name = "StackError";
}
