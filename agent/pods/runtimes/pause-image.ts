import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { digestOf } from '../images/manifest.ts'
import { type Blob, inMemory, type WholeImage } from './whole-image.ts'

/**
 * Machine code of a program that waits for ever, in few instructions; what keeps the namespaces of a pod. Where the kernel
 * has `pause`, that; elsewhere `ppoll` on nothing. Assembled by clang, which the test does again.
 */
export const PAUSE_CODE: Readonly<Record<string, { readonly machine: number; readonly code: string }>> = {
  // mov eax, 34 (pause); syscall; jmp to the beginning
  x64: { machine: 62, code: 'b8220000000f05ebf7' },
  // mov x0..x3, 0; mov x8, 73 (ppoll); svc 0; b to the beginning
  arm64: { machine: 183, code: '000080d2010080d2020080d2030080d2280980d2010000d4faffff17' },
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }
const ELF_HEADER_BYTES = 64
const PROGRAM_HEADER_BYTES = 56
const LOAD_ADDRESS = 0x400000

/** A 64-bit little-endian ELF executable of one segment (System V ABI, chapters 4 and 5). */
function executable(machine: number, code: Buffer): Buffer {
  const start = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES
  const bytes = Buffer.alloc(start + code.length)
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(bytes)
  bytes.writeUInt16LE(2, 16) // ET_EXEC
  bytes.writeUInt16LE(machine, 18)
  bytes.writeUInt32LE(1, 20)
  bytes.writeBigUInt64LE(BigInt(LOAD_ADDRESS + start), 24)
  bytes.writeBigUInt64LE(BigInt(ELF_HEADER_BYTES), 32)
  bytes.writeUInt16LE(ELF_HEADER_BYTES, 52)
  bytes.writeUInt16LE(PROGRAM_HEADER_BYTES, 54)
  bytes.writeUInt16LE(1, 56)
  bytes.writeUInt32LE(1, ELF_HEADER_BYTES) // PT_LOAD
  bytes.writeUInt32LE(5, ELF_HEADER_BYTES + 4) // read, execute
  bytes.writeBigUInt64LE(BigInt(LOAD_ADDRESS), ELF_HEADER_BYTES + 16)
  bytes.writeBigUInt64LE(BigInt(LOAD_ADDRESS), ELF_HEADER_BYTES + 24)
  bytes.writeBigUInt64LE(BigInt(bytes.length), ELF_HEADER_BYTES + 32)
  bytes.writeBigUInt64LE(BigInt(bytes.length), ELF_HEADER_BYTES + 40)
  bytes.writeBigUInt64LE(0x1000n, ELF_HEADER_BYTES + 48)
  code.copy(bytes, start)
  return bytes
}

/** An archive (POSIX.1-1988 ustar). */
function archive(files: readonly (readonly [name: string, content: Uint8Array])[]): Buffer {
  return Buffer.concat([...files.map(([name, content]) => entry(name, content)), Buffer.alloc(1024)])
}

function entry(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(512)
  header.write(name, 0)
  for (const [at, value] of [
    [100, '0000755\0'],
    [108, '0000000\0'],
    [116, '0000000\0'],
    [124, `${content.length.toString(8).padStart(11, '0')}\0`],
    [136, '00000000000\0'],
    [148, '        '],
    [156, '0'],
    [257, 'ustar\u000000'],
  ] as const) {
    header.write(value, at, 'latin1')
  }
  const sum = header.reduce((total, octet) => total + octet, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)])
}

/**
 * An image for the sandboxes themselves, of a few hundred bytes, for a gateway that cannot reach the registry of the usual
 * one. Undefined for machines it does not know.
 */
export function pauseImage(name: string, arch: string = process.arch): WholeImage | undefined {
  const known = PAUSE_CODE[arch]
  if (known === undefined) return undefined
  const layer = inMemory(archive([['pause', executable(known.machine, Buffer.from(known.code, 'hex'))]]))
  const json = (value: unknown) => Buffer.from(JSON.stringify(value))
  const config = inMemory(
    json({
      os: 'linux',
      architecture: ARCHITECTURES[arch],
      config: { Entrypoint: ['/pause'] },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  )
  const bytes = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config.digest, size: config.size },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.size }],
  })
  return {
    names: [name],
    configDigest: config.digest,
    manifest: { mediaType: 'application/vnd.oci.image.manifest.v1+json', bytes },
    blobs: [config, layer],
  }
}

/** The same as an archive with an OCI layout, which every engine takes. */
export async function pauseArchive(name: string, arch: string = process.arch): Promise<Buffer | undefined> {
  const image = pauseImage(name, arch)
  if (image === undefined) return undefined
  const { manifest } = image
  const content = async (blob: Blob) => await buffer(Readable.from(blob.content()))
  const path = (digest: string) => `blobs/sha256/${digest.slice('sha256:'.length)}`
  const digest = digestOf(manifest.bytes)
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        ...{ mediaType: manifest.mediaType, digest, size: manifest.bytes.length },
        annotations: { 'org.opencontainers.image.ref.name': name },
      },
    ],
  }
  const blobs = await Promise.all(image.blobs.map(async (blob) => [path(blob.digest), await content(blob)] as const))
  return archive([
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
    ['index.json', Buffer.from(JSON.stringify(index))],
    [path(digest), manifest.bytes],
    ...blobs,
  ])
}
