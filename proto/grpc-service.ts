import {
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
  create,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

type Kind<M extends DescMethod> = M["methodKind"];

/** A protobuf-es service in the shape that grpc-js and nice-grpc infer their request and response types from. */
export type GrpcService<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends infer M extends DescMethod
    ? Omit<MethodDefinition<MessageInitShape<M["input"]>, MessageShape<M["output"]>>, "requestStream" | "responseStream"> & {
        requestStream: Kind<M> extends "client_streaming" | "bidi_streaming" ? true : false;
        responseStream: Kind<M> extends "server_streaming" | "bidi_streaming" ? true : false;
      }
    : never;
};

/** Joins a generated service to the gRPC runtime; requests may be plain init objects. */
export function grpcService<S extends DescService>(service: S): GrpcService<S> {
  const methods: Record<string, unknown> = {};
  for (const method of service.methods) {
    methods[method.localName] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      requestSerialize: (value: never) => Buffer.from(toBinary(method.input, create(method.input, value))),
      requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
      responseSerialize: (value: never) => Buffer.from(toBinary(method.output, create(method.output, value))),
      responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
    };
  }
  return methods as GrpcService<S>;
}
