import { type Repository, isRepository } from "../../oci/repository.ts";

/** The repository that holds copies of another registry's. No org's name has a dot, so it is nobody's to push to. */
export function copyOf(host: string, repository: Repository): Repository {
  return `${host}/${repository}` as Repository;
}

/**
 * A registry host has a dot and no org's name has one: else `?ns=<another org>` would read that org's repositories. One with a port or a
 * slash is no first component of a repository, so there are no copies of it.
 */
export const hasCopies = (host: string): boolean => host.includes(".") && !host.includes("/") && isRepository(host);
