import type { LinkObject } from '../../api/link/messages.ts'
import { API_VERSION, splitKey } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import type { Protocol } from '../../mappers/sdk/mapper.ts'

/** The first thing that keeps an object from being used, if there is one. */
export type CheckObject = (object: LinkObject) => Promise<Finding | undefined>

/**
 * Checks an object the way the cloud core does, and again: a gateway may be older than its hub. The validators and the
 * protocols' linters are loaded when the first object arrives over the link, not at the start.
 */
export function objectChecker(protocols: readonly Protocol[]): CheckObject {
  return async (given) => {
    const { kind, key } = given
    if (given.kind === 'Pod' || given.kind === 'ConfigMap' || given.kind === 'Secret') {
      const { checkPodObject } = await import('../pods/check.ts')
      return checkPodObject(given)
    }
    // Read in full when it came; whether it is good is found out against the board.
    if (given.kind === 'FirmwareUpdate') return undefined
    const { object } = given
    const { validateResource } = await import('../../api/validate.ts')
    const { namespace, name } = splitKey(key)
    const metadata = namespace === '' ? { name } : { namespace, name }
    const resource = { apiVersion: API_VERSION, kind, metadata, spec: object.spec }
    const schemaError = firstError(validateResource(resource))
    if (schemaError !== undefined || given.kind !== 'DeviceModel') return schemaError
    const model = given.object.spec
    for (const protocol of protocols) {
      if (!model.properties.some((property) => Object.hasOwn(property, protocol.name))) continue
      const lint = await protocol.lint()
      const finding = firstError(lint(model, []))
      if (finding !== undefined) return finding
    }
    return undefined
  }
}

const firstError = (findings: readonly Finding[]) => findings.find(({ severity }) => severity === 'error')
