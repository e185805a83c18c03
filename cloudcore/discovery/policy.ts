import { createHash } from 'node:crypto'
import { type DiscoveredDeviceSpec, type DiscoveryPolicy, objectKey } from '../../api/resources.ts'
import { protocols } from '../../mappers/registry.ts'

export const DEFAULT_MIN_SCORE = 0.8
export const DEFAULT_MAX_DEVICES = 50
const DEFAULT_NAME = '{model}-{id}'
/** Names of Devices stand in labels and topics. */
const MAX_NAME = 63
const HASH_LENGTH = 8

export type Verdict =
  | {
      readonly adopts: true
      readonly name: string
      readonly model: string
      readonly namespace: string
      readonly why: string
    }
  | { readonly adopts: false; readonly why: string }

const no = (why: string): Verdict => ({ adopts: false, why })

/** `namespace/name` of a policy, as `spec.approve.by` says it after `policy `. */
export const policyKey = ({ metadata }: DiscoveryPolicy): string =>
  objectKey(metadata.namespace ?? 'default', metadata.name)

export const byPolicy = (policy: DiscoveryPolicy): string => `policy ${policyKey(policy)}`

/**
 * What a policy makes of a discovery, and why or why not; the same words decide and explain. `adopted`: how many devices
 * it has made.
 */
export function decide(policy: DiscoveryPolicy, spec: DiscoveredDeviceSpec, adopted: number): Verdict {
  const { match, name = DEFAULT_NAME, maxDevices = DEFAULT_MAX_DEVICES } = policy.spec
  const { minScore = DEFAULT_MIN_SCORE } = match
  if (spec.ignore === true) return no('it is ignored by a person')
  if (!protocols.some((protocol) => protocol.name === spec.protocol)) return no(`a ${spec.protocol} is no device`)
  if (match.protocols !== undefined && !match.protocols.includes(spec.protocol)) {
    return no(`its protocol is ${spec.protocol}`)
  }
  if (match.gateways !== undefined && !match.gateways.includes(spec.gateway)) return no(`${spec.gateway} sees it`)
  const id = spec.id.toLowerCase()
  const prefix = match.idPrefixes?.find((one) => id.startsWith(one.toLowerCase()))
  if (match.idPrefixes !== undefined && prefix === undefined) return no('its id begins otherwise')
  const best = spec.candidates?.[0]
  if (best === undefined && (match.models !== undefined || policy.spec.model === undefined)) {
    return no('it resembles no model')
  }
  if (match.models !== undefined && !match.models.includes(best?.model ?? '')) return no(`it resembles ${best?.model}`)
  // A model that the policy names rests on the id; the likeness counts where it decides.
  const likenessCounts = match.models !== undefined || policy.spec.model === undefined || match.minScore !== undefined
  if (likenessCounts && (best?.score ?? 0) < minScore) {
    return no(
      `it resembles ${best?.model ?? 'no model'} by ${percent(best?.score ?? 0)}, ${percent(minScore)} are wanted`,
    )
  }
  const model = policy.spec.model ?? best?.model ?? ''
  const device = nameFrom(name, spec, model)
  if (device === undefined) return no(`nothing is left of the name '${name}' for this device`)
  if (adopted >= maxDevices) return no(`the policy has made ${adopted} devices, of ${maxDevices} at most`)
  const why =
    best === undefined || policy.spec.model !== undefined
      ? prefix === undefined
        ? `it resembles ${best?.model}`
        : `its id begins with ${prefix}`
      : `it resembles ${best.model} by ${percent(best.score)}: ${best.why}`
  return { adopts: true, name: device, model, namespace: policy.metadata.namespace ?? 'default', why }
}

const percent = (share: number) => `${Math.round(share * 100)} %`

/** A Kubernetes name from what a device says of itself; one that has to be cut ends with a digest of the whole. */
function nameFrom(template: string, spec: DiscoveredDeviceSpec, model: string): string | undefined {
  const { id, protocol, gateway, name = spec.id } = spec
  const words: Readonly<Record<string, string>> = { id, name, model, protocol, gateway }
  const filled = template.replaceAll(/\{(\w+)\}/g, (whole, word: string) =>
    Object.hasOwn(words, word) ? (words[word] ?? '') : whole,
  )
  const plain = filled
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
  if (plain === '') return undefined
  if (plain.length <= MAX_NAME) return plain
  const hash = createHash('sha256').update(filled).digest('hex').slice(0, HASH_LENGTH)
  return `${plain.slice(0, MAX_NAME - HASH_LENGTH - 1).replace(/-$/, '')}-${hash}`
}
