import { SluiceError } from '../../api/errors.ts'
import type { DiscoveredDevice, DiscoveryPolicy } from '../../api/resources.ts'
import { byPolicy, decide, policyKey, type Verdict } from '../../cloudcore/discovery/policy.ts'
import { DISCOVERED_DEVICES, DISCOVERY_POLICIES } from '../../cloudcore/kube/paths.ts'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { listAll } from '../discovered.ts'
import { openKube } from '../kube.ts'
import { printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const discoverPolicyExplain = defineVerb({
  name: 'discover policy explain',
  summary: 'What the policies would make of what is seen, and why',
  description:
    'Decides as the cloud core does and changes nothing; a suspended policy is decided, too, so that it can be tried ' +
    'before it acts. Without any DiscoveryPolicy nothing becomes a device by itself.',
  positionals: { usage: '[NAMESPACE/]POLICY', min: 0, max: 1 },
  options: {
    all: { kind: 'flag', help: 'Also what is approved, ignored or gone.' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
  },
  examples: [
    { command: 'sluice discover policy explain', says: 'Every discovery with what each policy says' },
    { command: 'sluice discover policy explain plant/meters --all', says: 'One policy, and everything ever seen' },
  ],
  async run({ options, args, out, signal, env }) {
    await using kube = openKube(dataFolder(options.data, env))
    const policies = wantedPolicies(await listAll<DiscoveryPolicy>(kube, DISCOVERY_POLICIES, signal), args[0])
    const seen = await listAll<DiscoveredDevice>(kube, DISCOVERED_DEVICES, signal)
    const items = explainPolicies(policies, seen, options.all)
    if (out.json) {
      out.value({ items })
      return EXIT.ok
    }
    if (policies.length === 0) out.note('There is no DiscoveryPolicy: nothing becomes a device by itself.')
    else if (items.length === 0) out.note('Nothing new was seen.')
    const columns = [
      { title: 'ID', max: 40 },
      { title: 'GATEWAY', max: 20 },
      { title: 'POLICY', max: 30 },
      { title: 'BECOMES', max: 40, flexible: true },
      { title: 'WHY', max: 80, flexible: true },
    ]
    const rows = items.map(({ id, gateway, policy, suspended, verdict }) => [
      printable(id),
      printable(gateway),
      suspended ? `${policy} (suspended)` : policy,
      verdict.adopts ? out.style.green(`${verdict.namespace}/${verdict.name}, a ${verdict.model}`) : out.style.dim('–'),
      printable(verdict.why),
    ])
    if (items.length > 0) for (const line of table(columns, rows, out.width, out.style.dim)) out.line(line)
    return EXIT.ok
  },
})

interface Explained {
  readonly id: string
  readonly protocol: string
  readonly gateway: string
  readonly policy: string
  readonly suspended: boolean
  readonly verdict: Verdict
}

/** Every policy's word on every discovery that waits; policies in the order in which they are asked. */
export function explainPolicies(
  policies: readonly DiscoveryPolicy[],
  seen: readonly DiscoveredDevice[],
  all = false,
): readonly Explained[] {
  return seen.flatMap(({ spec, status }) => {
    if (!all && (status?.state ?? 'new') !== 'new') return []
    return policies.map((policy) => {
      const adopted = seen.filter((other) => other.spec.approve?.by === byPolicy(policy)).length
      return {
        ...{ id: spec.id, protocol: spec.protocol, gateway: spec.gateway, policy: policyKey(policy) },
        suspended: policy.spec.suspend === true,
        verdict: decide(policy, spec, adopted),
      }
    })
  })
}

function wantedPolicies(known: readonly DiscoveryPolicy[], wanted: string | undefined): readonly DiscoveryPolicy[] {
  const sorted = [...known].sort((a, b) => (policyKey(a) < policyKey(b) ? -1 : 1))
  if (wanted === undefined) return sorted
  const found = sorted.filter((policy) => policy.metadata.name === wanted || policyKey(policy) === wanted)
  if (found.length > 0) return found
  throw new SluiceError('SLUICE_CLI_NO_POLICY', `There is no DiscoveryPolicy '${wanted}'`, {
    hint:
      sorted.length === 0
        ? 'There is none at all; docs/devices.md shows one.'
        : `There are ${sorted.slice(0, 8).map(policyKey).join(', ')}.`,
  })
}
