import type { Role } from '../../api/console/roles.ts'
import type { Identity } from '../../api/console/sessions.ts'
import { toSluiceError } from '../../api/errors.ts'
import { GROUP } from '../../api/resources.ts'
import { KubeClient } from '../kube/client.ts'
import type { KubeConfig } from '../kube/config.ts'

/** What a role needs to be allowed by the Kubernetes API itself. */
const PROBES: readonly (readonly [Role, readonly { readonly verb: string; readonly resource: string }[]])[] = [
  ['viewer', [{ verb: 'list', resource: 'devices' }]],
  ['operator', [{ verb: 'patch', resource: 'devices' }]],
  [
    'admin',
    [
      { verb: 'patch', resource: 'gateways' },
      { verb: 'create', resource: 'devicemodels' },
    ],
  ],
]

/**
 * Who a Kubernetes token belongs to and which role that makes: asked of the API as that person, so its own authorization
 * decides, RBAC or whatever stands behind it. Undefined for a token the API does not know, or that may see no devices.
 */
export async function kubeIdentity(config: KubeConfig, token: string): Promise<Identity | undefined> {
  const { certPem: _cert, keyPem: _key, ...server } = config
  const ask = async (): Promise<{ name: string; role: Role } | undefined> => {
    await using client = new KubeClient({ ...server, token: () => token }, { maxSockets: 1 })
    try {
      const role = await roleOf(client)
      return role === undefined ? undefined : { name: await nameOf(client), role }
    } catch (thrown) {
      const { code } = toSluiceError(thrown)
      if (code === 'SLUICE_KUBE_UNREACHABLE' || code === 'SLUICE_KUBE_UNAVAILABLE') throw thrown
      return undefined
    }
  }
  const found = await ask()
  return found === undefined ? undefined : { ...found, recheck: async () => (await ask())?.role }
}

async function nameOf(client: KubeClient): Promise<string> {
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }
  const answer = await client.create<{ status?: { userInfo?: { username?: string } } }>(path, body)
  return answer.status?.userInfo?.username ?? 'unknown'
}

/** The same for somebody whom another party has vouched for: asked about them by the cloud core itself. */
export function roleOfPerson(
  client: KubeClient,
  person: { readonly name: string; readonly groups: readonly string[] },
): Promise<Role | undefined> {
  return roleOf(client, { user: person.name, groups: person.groups })
}

/** Without `about`, of whoever `client` is. */
async function roleOf(client: KubeClient, about?: About): Promise<Role | undefined> {
  let reached: Role | undefined
  for (const [role, probes] of PROBES) {
    for (const probe of probes) if (!(await may(client, probe, about))) return reached
    reached = role
  }
  return reached
}

interface About {
  readonly user: string
  readonly groups: readonly string[]
}

async function may(
  client: KubeClient,
  wanted: { readonly verb: string; readonly resource: string },
  about: About | undefined,
): Promise<boolean> {
  const kind = about === undefined ? 'SelfSubjectAccessReview' : 'SubjectAccessReview'
  const answer = await client.create<{ status?: { allowed?: boolean } }>(
    `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`,
    {
      apiVersion: 'authorization.k8s.io/v1',
      kind,
      spec: { ...about, resourceAttributes: { group: GROUP, ...wanted } },
    },
  )
  return answer.status?.allowed === true
}
