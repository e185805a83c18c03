import type { Authenticator } from '../access/authenticate.ts'
import type { Authorize } from '../access/authorize.ts'
import type { Kind } from './kind.ts'
import { configMapKind } from './kinds/config-map.ts'
import { customResourceDefinitionKind } from './kinds/custom-resource-definition.ts'
import { delegatedReviewKinds } from './kinds/delegated-reviews.ts'
import { disruptionBudgetKind } from './kinds/disruption-budget.ts'
import { eventKind } from './kinds/event.ts'
import { leaseKind } from './kinds/lease.ts'
import { namespaceKind } from './kinds/namespace.ts'
import { nodeKind } from './kinds/node.ts'
import { podKind } from './kinds/pod.ts'
import { priorityClassKind } from './kinds/priority-class.ts'
import { rbacKinds } from './kinds/rbac.ts'
import { reviewKinds } from './kinds/reviews.ts'
import { secretKind } from './kinds/secret.ts'
import { serviceAccountKind } from './kinds/service-account.ts'
import { controllerRevisionKind, daemonSetKind, deploymentKind, jobKind, replicaSetKind } from './kinds/workloads.ts'

/** The kinds that are there without anybody defining them. A new one is a file in kinds/ and a line here. */
export function builtinKinds(authorize: Authorize, authenticator: Authenticator): Kind[] {
  return [
    configMapKind,
    eventKind,
    namespaceKind,
    nodeKind,
    podKind,
    secretKind,
    serviceAccountKind,
    leaseKind,
    deploymentKind,
    replicaSetKind,
    daemonSetKind,
    controllerRevisionKind,
    jobKind,
    disruptionBudgetKind,
    priorityClassKind,
    customResourceDefinitionKind,
    ...rbacKinds,
    ...reviewKinds(authorize),
    ...delegatedReviewKinds(authorize, authenticator),
  ]
}
