import { toSluiceError } from '../api/errors.ts'
import { GROUP } from '../api/resources.ts'
import type { KubeClient } from './kube/client.ts'

const RBAC = 'rbac.authorization.k8s.io'
const CLUSTER_ROLES = `/apis/${RBAC}/v1/clusterroles`
const READ = ['get', 'list', 'watch']
/** What an operator does: sets values, approves devices, holds rollouts. */
const OPERATED = ['devices', 'discovereddevices', 'firmwarerollouts']

const rule = (resources: readonly string[], verbs: readonly string[], group: string = GROUP) => ({
  apiGroups: [group],
  resources,
  verbs,
})

/** The console's three roles as ClusterRoles, to be bound to people and groups. */
const ROLES = [
  { name: 'sluice-viewer', rules: [rule(['*'], READ), rule(['nodes', 'pods', 'events'], READ, '')] },
  {
    name: 'sluice-operator',
    rules: [
      rule(['*'], READ),
      rule(['nodes', 'pods', 'events'], READ, ''),
      rule(OPERATED, ['create', 'patch', 'update']),
    ],
  },
  { name: 'sluice-admin', rules: [rule(['*'], ['*']), rule(['nodes', 'pods', 'events'], READ, '')] },
]

/**
 * Creates the roles that are not there. One that is there stays as it is: somebody may have made it narrower. Where this
 * identity may not write roles, an administrator makes their own.
 */
export async function installRoles(client: KubeClient, signal: AbortSignal): Promise<void> {
  for (const { name, rules } of ROLES) {
    const role = {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRole',
      metadata: { name, labels: { 'app.kubernetes.io/part-of': 'sluice' } },
      rules,
    }
    try {
      await client.create(CLUSTER_ROLES, role, { query: { fieldManager: 'sluice-cloudcore' }, signal })
    } catch (thrown) {
      const { code } = toSluiceError(thrown)
      if (code === 'SLUICE_KUBE_FORBIDDEN' || code === 'SLUICE_KUBE_NOT_FOUND') return
      if (code !== 'SLUICE_KUBE_EXISTS') throw thrown
    }
  }
}
