import { SearchAttributeType, defineSearchAttributeKey } from "@temporalio/common";
import { searchAttributeNames } from "./ids.ts";

export const orgAttribute = defineSearchAttributeKey(searchAttributeNames.org, SearchAttributeType.KEYWORD);
export const appAttribute = defineSearchAttributeKey(searchAttributeNames.app, SearchAttributeType.KEYWORD);
export const stageAttribute = defineSearchAttributeKey(searchAttributeNames.stage, SearchAttributeType.KEYWORD);
export const digestAttribute = defineSearchAttributeKey(searchAttributeNames.digest, SearchAttributeType.KEYWORD);
