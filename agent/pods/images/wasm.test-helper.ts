import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { digestOf } from './manifest.ts'

/** What making a module needs and this machine has not, or undefined. */
export function missingForWasm(): string | undefined {
  const missing = [
    ...(existsSync('/usr/bin/clang') ? [] : ['clang']),
    ...(existsSync('/usr/bin/wasm-ld') ? [] : ['lld']),
    ...(existsSync('/usr/share/doc/wasi-libc') ? [] : ['wasi-libc']),
    ...(existsSync('/usr/share/doc/libclang-rt-14-dev-wasm32') ? [] : ['libclang-rt-14-dev-wasm32']),
  ]
  return missing.length === 0 ? undefined : `apt-get install ${missing.join(' ')}`
}

/** A program in C as a WASI module, made by clang and wasi-libc. */
export function compileWasm(source: string): Buffer {
  const work = mkdtempSync(join(tmpdir(), 'sluice-wasm-'))
  try {
    writeFileSync(join(work, 'main.c'), source)
    const out = join(work, 'main.wasm')
    execFileSync('clang', ['--target=wasm32-wasi', '-O1', '-o', out, join(work, 'main.c')])
    return readFileSync(out)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Modules as an OCI artifact (CNCF's layout for WebAssembly), in a folder with an OCI layout. */
export function wasmArtifact(module: Uint8Array, name: string): Disposable & { readonly folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-wasm-image-'))
  const blobs = join(folder, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (mediaType: string, bytes: Uint8Array, more: object = {}) => {
    const digest = digestOf(bytes)
    writeFileSync(join(blobs, digest.slice(7)), bytes)
    return { mediaType, digest, size: bytes.length, ...more }
  }
  const json = (value: unknown) => Buffer.from(JSON.stringify(value))
  const manifest = put(
    'application/vnd.oci.image.manifest.v1+json',
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: put(
        'application/vnd.wasm.config.v0+json',
        json({ architecture: 'wasm', os: 'wasip1', layerDigests: [] }),
      ),
      layers: [put('application/wasm', module)],
    }),
    { annotations: { 'org.opencontainers.image.ref.name': name }, platform: { os: 'wasip1', architecture: 'wasm' } },
  )
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(folder, 'index.json'), json({ schemaVersion: 2, manifests: [manifest] }))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}
