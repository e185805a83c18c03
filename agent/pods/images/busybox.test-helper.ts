import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { digestOf } from './manifest.ts'

export const BUSYBOX = '/bin/busybox'

const APPLETS =
  'sh awk ls cat id sleep echo mount umount unshare ps kill stty nc httpd env wc yes dd head mkdir ln chroot tail true false hostname touch wget test tar'

export interface MadeImage extends Disposable {
  /** OCI layout. */
  readonly folder: string
  /** The same as an archive, made by the system's tar. */
  readonly archive: string
  readonly configDigest: string
  readonly manifestDigest: string
}

export interface ImageParts {
  readonly name?: string
  readonly entrypoint?: readonly string[]
  readonly command?: readonly string[]
  readonly user?: string
  readonly env?: readonly string[]
  /** Further layers: files by path, `null` for a whiteout. */
  readonly layers?: readonly Readonly<Record<string, string>>[]
}

/** An image with a static busybox in it, written as an OCI layout by hand and by the system's tar. */
export function busyboxImage(parts: ImageParts = {}): MadeImage {
  const work = mkdtempSync(join(tmpdir(), 'sluice-image-'))
  const root = join(work, 'root')
  mkdirSync(join(root, 'bin'), { recursive: true })
  mkdirSync(join(root, 'etc'))
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'))
  for (const name of APPLETS.split(' ')) symlinkSync('busybox', join(root, 'bin', name))
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\nworker:x:1234:1234::/:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nworker:x:1234:\n')
  const trees = [root, ...(parts.layers ?? []).map((files, at) => writeTree(join(work, `layer-${at}`), files))]
  const folder = join(work, 'layout')
  const blobs = join(folder, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (bytes: Uint8Array) => {
    const digest = digestOf(bytes)
    writeFileSync(join(blobs, digest.slice(7)), bytes)
    return { digest, size: bytes.length }
  }
  const layers = trees.map((tree) => {
    const tar = execFileSync('tar', ['-C', tree, '--owner=0', '--group=0', '-cf', '-', '.'], {
      maxBuffer: 64 * 1024 ** 2,
    })
    const stored = put(gzipSync(tar, { level: 1 }))
    return {
      diffId: digestOf(tar),
      descriptor: { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...stored },
    }
  })
  const config = put(
    Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        config: {
          Env: ['PATH=/bin', 'FROM_IMAGE=yes', ...(parts.env ?? [])],
          Entrypoint: parts.entrypoint ?? [],
          Cmd: parts.command ?? ['sleep', '1000'],
          ...(parts.user === undefined ? {} : { User: parts.user }),
        },
        rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      }),
    ),
  )
  const manifest = put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers: layers.map(({ descriptor }) => descriptor),
      }),
    ),
  )
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          ...manifest,
          annotations: { 'org.opencontainers.image.ref.name': parts.name ?? 'test/busybox:1' },
        },
      ],
    }),
  )
  const archive = join(work, 'image.tar')
  execFileSync('tar', ['-C', folder, '-cf', archive, '.'])
  return {
    folder,
    archive,
    configDigest: config.digest,
    manifestDigest: manifest.digest,
    [Symbol.dispose]: () => rmSync(work, { recursive: true, force: true }),
  }
}

function writeTree(root: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

/** What the tests of pods need and does not have, or undefined. */
export function missingForPods(): string | undefined {
  const missing = [
    ...(existsSync('/usr/bin/bwrap') ? [] : ['bubblewrap']),
    ...(existsSync(BUSYBOX) && !readFileSync(BUSYBOX).includes('/lib64/ld-linux') ? [] : ['busybox-static']),
  ]
  if (process.getuid?.() !== 0) return 'needs root'
  return missing.length === 0 ? undefined : `apt-get install ${missing.join(' ')}`
}
