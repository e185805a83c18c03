import { createHash } from 'node:crypto'
import { SluiceError } from '../../../api/errors.ts'
import type { LayerFacts } from './unpack.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly os?: string; readonly architecture?: string; readonly variant?: string }
  readonly annotations?: Readonly<Record<string, string>>
}

/** What of an image's configuration says how it is run (OCI image specification, `config`). */
export interface ImageConfig {
  readonly user: string
  readonly env: readonly string[]
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly workingDirectory: string
  readonly stopSignal: string | undefined
  /** As Go names it; `wasm` for WebAssembly. Images of older agents lack it. */
  readonly architecture?: string
}

export interface ImagePlan {
  /** Digest of the configuration: what images are called by. */
  readonly id: string
  readonly config: ImageConfig
  readonly layers: readonly (LayerFacts & { readonly size: number })[]
}

export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
const MAX_LAYERS = 256
const DIGEST = /^sha256:[0-9a-f]{64}$/
/** As Go names them, since images are named so. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  riscv64: 'riscv64',
}

export const isDigest = (value: unknown): value is string => typeof value === 'string' && DIGEST.test(value)

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Reads JSON whose digest is known; throws `SLUICE_POD_IMAGE_DIGEST` or `_BROKEN`. */
export function readDocument(bytes: Uint8Array, digest: string | undefined): Record<string, unknown> {
  if (digest !== undefined && digestOf(bytes) !== digest) {
    throw new SluiceError('SLUICE_POD_IMAGE_DIGEST', `A document of an image has not the digest ${digest}`, {
      hint: 'Do not use it: it was damaged on the way or exchanged. Fetch the image again from where you trust it.',
    })
  }
  try {
    const parsed: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (isMap(parsed)) return parsed
  } catch (cause) {
    throw broken('a document is not JSON', cause)
  }
  throw broken('a document is no object')
}

export const isIndex = (document: Record<string, unknown>): boolean => Array.isArray(document['manifests'])

/** The manifest for this machine. */
export function choose(index: Record<string, unknown>, machine: string = process.arch): Descriptor {
  const manifests = descriptors(index['manifests'])
  const wanted = ARCHITECTURES[machine] ?? machine
  const fits = manifests.filter(
    ({ platform }) =>
      platform === undefined || ((platform.os ?? 'linux') === 'linux' && platform.architecture === wanted),
  )
  const named = fits.find(({ platform }) => platform !== undefined)
  // WebAssembly runs on any machine, where a pod asks for it.
  const chosen = named ?? fits[0] ?? manifests.find(({ platform }) => /^wasm/.test(platform?.architecture ?? ''))
  if (chosen !== undefined) return chosen
  const offered = manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`).join(', ')
  throw new SluiceError('SLUICE_POD_IMAGE_PLATFORM', `The image is not made for linux/${wanted}, only for ${offered}`, {
    hint: `Build the image for linux/${wanted} too.`,
  })
}

/** Brings manifest and configuration together. */
export function planImage(
  manifest: Record<string, unknown>,
  configDigest: string,
  configuration: Record<string, unknown>,
): ImagePlan {
  const layers = descriptors(manifest['layers'])
  const rootfs = configuration['rootfs']
  const diffIds = isMap(rootfs) && Array.isArray(rootfs['diff_ids']) ? (rootfs['diff_ids'] as unknown[]) : []
  if (layers.length > MAX_LAYERS) throw broken(`it has ${layers.length} layers`)
  if (diffIds.length !== layers.length || !diffIds.every(isDigest)) throw broken('its configuration names other layers')
  const config = isMap(configuration['config']) ? configuration['config'] : {}
  return {
    id: configDigest,
    config: {
      user: textOf(config['User']),
      env: texts(config['Env']),
      entrypoint: texts(config['Entrypoint']),
      command: texts(config['Cmd']),
      workingDirectory: textOf(config['WorkingDir']),
      stopSignal: textOf(config['StopSignal']) || undefined,
      architecture: textOf(configuration['architecture']),
    },
    layers: layers.map(({ digest, mediaType, size }, at) => ({
      ...{ digest, mediaType, size },
      storedDigest: digest,
      diffId: diffIds[at],
    })),
  }
}

export function descriptors(value: unknown): Descriptor[] {
  if (!Array.isArray(value)) throw broken('a list is missing')
  return value.map((item: unknown) => descriptor(item))
}

export function descriptor(value: unknown): Descriptor {
  if (!isMap(value) || !isDigest(value['digest']) || !Number.isSafeInteger(value['size'])) {
    throw broken('it names something without a digest and a size')
  }
  const { digest, size, platform, annotations } = value
  return {
    mediaType: textOf(value['mediaType']),
    digest,
    size: Number(size),
    ...(isMap(platform)
      ? { platform: { os: textOf(platform['os']), architecture: textOf(platform['architecture']) } }
      : {}),
    ...(isMap(annotations)
      ? { annotations: Object.fromEntries(Object.entries(annotations).map(([name, text]) => [name, String(text)])) }
      : {}),
  }
}

export const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []

export const broken = (what: string, cause?: unknown): SluiceError =>
  new SluiceError('SLUICE_POD_IMAGE_BROKEN', `An image cannot be read: ${what}`, {
    hint: 'Make or fetch the image again; what is here is damaged or no image.',
    ...(cause === undefined ? {} : { cause }),
  })
