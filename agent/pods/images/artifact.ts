import { basename } from 'node:path'
import { descriptors, digestOf, type ImagePlan } from './manifest.ts'

/** A layer that is a module as it is, and no archive: CNCF's OCI artifact for WebAssembly, and what came before it. */
const MODULE_LAYERS: ReadonlySet<string> = new Set([
  'application/wasm',
  'application/vnd.wasm.content.layer.v1+wasm',
  'application/vnd.module.wasm.content.layer.v1+wasm',
])

const MODULE_NAME = /^[A-Za-z0-9._-]{1,128}\.wasm$/

/**
 * How an artifact with WebAssembly modules is laid out: each a file at the top, the first of them the entry point.
 * Undefined for an ordinary image. Its configuration says nothing of use, and may be the same for all artifacts.
 */
export function planArtifact(manifest: Record<string, unknown>): ImagePlan | undefined {
  if (!Array.isArray(manifest['layers'])) return undefined
  const modules = descriptors(manifest['layers']).filter(({ mediaType }) => MODULE_LAYERS.has(mediaType))
  if (modules.length === 0) return undefined
  const layers = modules.map(({ digest, mediaType, size, annotations }, at) => {
    const title = basename(annotations?.['org.opencontainers.image.title'] ?? '')
    const file = MODULE_NAME.test(title) ? title : `module${at === 0 ? '' : at}.wasm`
    return { digest, mediaType, size, storedDigest: digest, diffId: undefined, file }
  })
  return {
    id: digestOf(Buffer.from(JSON.stringify(layers.map(({ file, digest }) => [file, digest])))),
    config: {
      ...{ user: '', env: [], command: [], workingDirectory: '', stopSignal: undefined },
      entrypoint: [`/${layers[0]!.file}`],
      architecture: 'wasm',
    },
    layers,
  }
}
