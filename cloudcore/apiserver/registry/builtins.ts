import type { Authorize } from '../access/authorize.ts'
import type { Kind } from './kind.ts'
import { configMapKind } from './kinds/config-map.ts'
import { customResourceDefinitionKind } from './kinds/custom-resource-definition.ts'
import { eventKind } from './kinds/event.ts'
import { leaseKind } from './kinds/lease.ts'
import { namespaceKind } from './kinds/namespace.ts'
import { nodeKind } from './kinds/node.ts'
import { podKind } from './kinds/pod.ts'
import { reviewKinds } from './kinds/reviews.ts'
import { secretKind } from './kinds/secret.ts'
import { serviceAccountKind } from './kinds/service-account.ts'

/** The kinds that are there without anybody defining them. A new one is a file in kinds/ and a line here. */
export function builtinKinds(authorize: Authorize): Kind[] {
  return [
    configMapKind,
    eventKind,
    namespaceKind,
    nodeKind,
    podKind,
    secretKind,
    serviceAccountKind,
    leaseKind,
    customResourceDefinitionKind,
    ...reviewKinds(authorize),
  ]
}
