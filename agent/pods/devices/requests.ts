import { SluiceError } from '../../../api/errors.ts'
import type { LinkPod } from '../../../api/link/pods.ts'

/** What a pod asks for by annotation. */
export interface DeviceRequests {
  /** Names of Devices of its own namespace; `write` unless it said `:ro`. */
  readonly devices: readonly { readonly name: string; readonly write: boolean }[]
  /** Paths of device nodes, as the pod sees them too. */
  readonly nodes: readonly { readonly path: string; readonly kind: 'serial' | 'radio' }[]
}

export const DEVICE_ANNOTATION = 'sluice.dev/device'
const NODE_ANNOTATIONS = { serial: 'sluice.dev/serial', radio: 'sluice.dev/radio' } as const

const MAX_REQUESTS = 32
/** RFC 1123 subdomain, as Kubernetes names objects; short enough for the file of a socket. */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
const PATH = /^\/dev\/[A-Za-z0-9._:/+-]{1,200}$/

/** Reads them; throws `SLUICE_POD_CONFIG` with the annotation that is wrong. */
export function deviceRequests({ metadata: { annotations = {} } }: Pick<LinkPod, 'metadata'>): DeviceRequests {
  const devices = words(annotations, DEVICE_ANNOTATION).map((word) => {
    const readOnly = word.endsWith(':ro')
    const name = readOnly ? word.slice(0, -':ro'.length) : word
    if (!NAME.test(name)) throw bad(DEVICE_ANNOTATION, `'${word}' is no name of a device`)
    return { name, write: !readOnly }
  })
  const nodes = (['serial', 'radio'] as const).flatMap((kind) =>
    words(annotations, NODE_ANNOTATIONS[kind]).map((path) => {
      if (kind === 'radio' && /^hci\d+$/.test(path)) {
        throw bad(NODE_ANNOTATIONS.radio, `${path} is the machine's Bluetooth, which no pod can have by itself`)
      }
      if (!PATH.test(path) || path.split('/').includes('..'))
        throw bad(NODE_ANNOTATIONS[kind], `'${path}' is no path below /dev`)
      return { path, kind }
    }),
  )
  return { devices, nodes }
}

function words(annotations: Readonly<Record<string, string>>, name: string): string[] {
  const all = (annotations[name] ?? '').split(/[\s,]+/).filter((word) => word !== '')
  if (all.length > MAX_REQUESTS) throw bad(name, `more than ${MAX_REQUESTS} are asked for`)
  return [...new Set(all)]
}

const HINTS: Readonly<Record<string, string>> = {
  [DEVICE_ANNOTATION]: 'Name devices of the namespace of the pod: `sluice.dev/device: pump, meter:ro`.',
  [NODE_ANNOTATIONS.serial]: 'Give the path of a serial line: `sluice.dev/serial: /dev/serial/by-id/...`.',
  [NODE_ANNOTATIONS.radio]:
    'Give the path of a device node, for example /dev/spidev0.0; for Bluetooth describe a Device and ask for that: `sluice.dev/device`.',
}

const bad = (annotation: string, what: string): SluiceError =>
  new SluiceError('SLUICE_POD_CONFIG', `Annotation ${annotation}: ${what}`, { hint: HINTS[annotation]! })
