import { digestOf } from '../images/manifest.ts'

export interface Blob {
  readonly digest: string
  readonly size: number
  readonly content: () => AsyncIterable<Uint8Array>
}

/** An image as registries and engines keep it: a manifest by its name, and what that names. */
export interface WholeImage {
  readonly names: readonly string[]
  readonly configDigest: string
  readonly manifest: { readonly mediaType: string; readonly bytes: Uint8Array }
  readonly blobs: readonly Blob[]
}

export const inMemory = (bytes: Uint8Array): Blob => ({
  digest: digestOf(bytes),
  size: bytes.length,
  content: async function* () {
    yield bytes
  },
})
