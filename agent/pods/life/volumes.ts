import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  type lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { SluiceError } from '../../../api/errors.ts'
import type { PodContainer, PodVolume, VolumeSource } from '../../../api/link/pods.ts'
import { splitKey } from '../../../api/resources.ts'
import { inside } from '../images/inside.ts'
import type { Mount } from '../runtimes/runtime.ts'
import {
  configMapOf,
  containerEnv,
  expand,
  type PodFacts,
  podField,
  resourceField,
  type Sources,
  secretOf,
} from './values.ts'

export interface VolumeFolders {
  /** On disk: scratch volumes and claims. */
  readonly disk: string
  /** In memory where there is a place for it: secrets are never written to a disk in the clear. */
  readonly memory: string
}

/** Who may write: everybody inside of one pod, and nobody outside, since the folder above lets only its way through. */
const SHARED_MODE = 0o777

/**
 * Makes the volumes of a pod and says what is mounted where in a container. What is there already stays: a scratch
 * volume lives as long as its pod. Throws `SLUICE_POD_CONFIG` or `SLUICE_POD_VOLUME`.
 */
export function volumeMounts(
  facts: PodFacts,
  container: PodContainer,
  sources: Sources,
  folders: VolumeFolders,
): Mount[] {
  return (container.volumeMounts ?? []).map(({ name, mountPath, subPath = '', subPathExpr = '', readOnly = false }) => {
    const volume = facts.pod.spec.volumes?.find((one) => one.name === name)
    if (volume === undefined) throw bad(`the volume ${name} is not in the pod`)
    if (subPath !== '' && subPathExpr !== '') throw bad(`${name} has both a subPath and a subPathExpr`)
    const part = subPathExpr === '' ? subPath : expanded(subPathExpr, containerEnv(facts, container, sources))
    const made = makeVolume(facts, volume, sources, folders)
    return {
      hostPath: part === '' ? made.path : subPathOf(made.path, part),
      containerPath: mountPath,
      readOnly: readOnly || made.readOnly,
      ...(made.owned === true ? { owned: true } : {}),
    }
  })
}

/** Removes what belongs to a pod that is gone; what a claim names stays. */
export function removeVolumes(uid: string, folders: VolumeFolders): void {
  for (const folder of [folders.disk, folders.memory]) rmSync(join(folder, uid), { recursive: true, force: true })
}

interface MadeVolume {
  readonly path: string
  readonly readOnly: boolean
  readonly owned?: boolean
}

function makeVolume(facts: PodFacts, volume: PodVolume, sources: Sources, folders: VolumeFolders): MadeVolume {
  const { uid } = facts.pod
  if (volume.hostPath !== undefined) return { path: hostPath(volume.hostPath), readOnly: false }
  if (volume.persistentVolumeClaim !== undefined) {
    const { claimName, readOnly = false } = volume.persistentVolumeClaim
    if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(claimName)) throw bad(`'${claimName}' is no name of a claim`)
    // Claims of a gateway are folders of its own disk, shared by whoever names them in a namespace.
    return {
      path: shared(join(folders.disk, 'claims', splitKey(facts.key).namespace, claimName)),
      readOnly,
      owned: true,
    }
  }
  if (volume.emptyDir !== undefined || isBare(volume)) {
    const inMemory = volume.emptyDir?.medium === 'Memory'
    return {
      path: shared(join(inMemory ? folders.memory : folders.disk, uid, 'volumes', volume.name)),
      readOnly: false,
      owned: true,
    }
  }
  const content = volumeFiles(facts, volume, sources)
  const folder = content.secret ? folders.memory : folders.disk
  return { path: writeFiles(join(folder, uid, 'files', volume.name), content.files), readOnly: true }
}

const isBare = ({ name: _, ...rest }: PodVolume): boolean => Object.keys(rest).length === 0

function shared(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o711 })
  chmodSync(path, SHARED_MODE)
  return path
}

interface FileOf {
  readonly path: string
  readonly bytes: Buffer
  readonly mode: number
}

/** The files of a volume that is made of objects; `secret` when any of them is. */
export function volumeFiles(
  facts: PodFacts,
  volume: PodVolume,
  sources: Sources,
): { readonly files: readonly FileOf[]; readonly secret: boolean } {
  const { projected } = volume
  const parts: readonly VolumeSource[] = projected?.sources ?? [volume]
  const files = parts.flatMap((part) => partFiles(facts, part, sources, projected?.defaultMode))
  return { files, secret: parts.some(({ secret }) => secret !== undefined) }
}

const DEFAULT_MODE = 0o644

function partFiles(facts: PodFacts, part: VolumeSource, sources: Sources, outerMode: number | undefined): FileOf[] {
  const { configMap, secret, downwardAPI } = part
  if (configMap !== undefined) {
    if (configMap.optional === true && sources.configMap(configMap.name) === undefined) return []
    const { data = {}, binaryData = {} } = configMapOf(sources, configMap.name)
    const all = [
      ...Object.entries(data).map(([key, text]) => [key, Buffer.from(text)] as const),
      ...Object.entries(binaryData).map(([key, text]) => [key, Buffer.from(text, 'base64')] as const),
    ]
    return chosen(all, configMap, outerMode, `configmap "${configMap.name}"`)
  }
  if (secret !== undefined) {
    const name = secret.secretName ?? secret.name ?? ''
    if (secret.optional === true && sources.secret(name) === undefined) return []
    const data = Object.entries(secretOf(sources, name).data ?? {})
    const all = data.map(([key, text]) => [key, Buffer.from(text, 'base64')] as const)
    return chosen(all, secret, outerMode, `secret "${name}"`)
  }
  if (downwardAPI !== undefined) {
    return (downwardAPI.items ?? []).map(({ path, mode, fieldRef, resourceFieldRef }) => {
      const container =
        facts.pod.spec.containers.find(({ name }) => name === resourceFieldRef?.containerName) ??
        facts.pod.spec.containers[0]!
      const text =
        fieldRef === undefined
          ? resourceField(container, resourceFieldRef?.resource ?? '', resourceFieldRef?.divisor, sources.node)
          : podField(facts, fieldRef.fieldPath, sources.node)
      return { path, bytes: Buffer.from(text), mode: mode ?? downwardAPI.defaultMode ?? outerMode ?? DEFAULT_MODE }
    })
  }
  throw bad(`volumes of the kind ${Object.keys(part).find((key) => key !== 'name') ?? '?'} are not known here`)
}

function chosen(
  all: readonly (readonly [key: string, bytes: Buffer])[],
  from: NonNullable<VolumeSource['configMap'] | VolumeSource['secret']>,
  outerMode: number | undefined,
  what: string,
): FileOf[] {
  const mode = from.defaultMode ?? outerMode ?? DEFAULT_MODE
  if (from.items === undefined) return all.map(([key, bytes]) => ({ path: key, bytes, mode }))
  return from.items.map((item) => {
    const found = all.find(([key]) => key === item.key)
    if (found === undefined) {
      throw new SluiceError('SLUICE_POD_CONFIG', `key ${item.key} in ${what} not found`, {
        hint: 'Add it; the pod goes on by itself.',
      })
    }
    return { path: item.path, bytes: found[1], mode: item.mode ?? mode }
  })
}

/**
 * Puts all files in place at once, as the kubelet does: a new folder, then one link that changes over. A program that
 * reads them sees all of the old or all of the new.
 */
function writeFiles(folder: string, files: readonly FileOf[]): string {
  const digest = Buffer.concat(files.flatMap(({ path, bytes }) => [Buffer.from(`${path}\0${bytes.length}\0`), bytes]))
  const version = `..${digestName(digest)}`
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  const target = join(folder, version)
  if (!existsSync(target)) {
    const work = `${target}.new`
    rmSync(work, { recursive: true, force: true })
    mkdirSync(work, { mode: 0o755 })
    for (const { path, bytes, mode } of files) {
      const place = inside(work, path)
      mkdirSync(dirname(place), { recursive: true, mode: 0o755 })
      // The user of the pod is not known here and owns nothing: what the owner may read, it may.
      writeFileSync(place, bytes, { mode: mode | ((mode & 0o400) >> 6) })
      chmodSync(place, (mode & 0o777) | ((mode & 0o400) >> 6))
    }
    renameSync(work, target)
  }
  link(folder, '..data', version)
  for (const top of new Set(files.map(({ path }) => path.split('/')[0]!))) link(folder, top, `..data/${top}`)
  return folder
}

function link(folder: string, name: string, target: string): void {
  const path = join(folder, name)
  rmSync(`${path}.new`, { force: true })
  symlinkSync(target, `${path}.new`)
  renameSync(`${path}.new`, path)
}

const digestName = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 24)

function hostPath({ path, type = '' }: NonNullable<PodVolume['hostPath']>): string {
  if (!path.startsWith('/') || path.split('/').includes('..')) throw bad(`'${path}' is no absolute path`)
  const there = statSync(path, { throwIfNoEntry: false })
  if (there === undefined && type === 'DirectoryOrCreate') mkdirSync(path, { recursive: true, mode: 0o755 })
  else if (there === undefined && type === 'FileOrCreate') writeFileSync(path, '', { mode: 0o644 })
  else if (there === undefined) throw bad(`hostPath ${path} does not exist on this gateway`)
  const kind = KINDS[type]
  if (there !== undefined && kind !== undefined && !kind(there)) throw bad(`hostPath ${path} is no ${type}`)
  return path
}

const KINDS: Readonly<Record<string, (stat: ReturnType<typeof lstatSync> & object) => boolean>> = {
  Directory: (stat) => stat.isDirectory(),
  DirectoryOrCreate: (stat) => stat.isDirectory(),
  File: (stat) => stat.isFile(),
  FileOrCreate: (stat) => stat.isFile(),
  Socket: (stat) => stat.isSocket(),
  CharDevice: (stat) => stat.isCharacterDevice(),
  BlockDevice: (stat) => stat.isBlockDevice(),
}

/** Unlike in a command, what is not there is no path either. */
function expanded(expression: string, env: readonly (readonly [string, string])[]): string {
  const values = new Map(env)
  for (const [, name] of expression.replaceAll('$$', '').matchAll(/\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)/g)) {
    if (values.has(name!)) continue
    throw new SluiceError('SLUICE_POD_CONFIG', `subPathExpr '${expression}': there is no variable ${name}`, {
      hint: 'Give it in the env of the container.',
    })
  }
  const path = expand(expression, values)
  if (path === '') throw bad(`subPathExpr '${expression}' leaves nothing`)
  return path
}

/** A path inside of a volume, which the pod may have filled with links: none of them leads out. */
function subPathOf(root: string, subPath: string): string {
  if (subPath.startsWith('/') || subPath.split('/').includes('..'))
    throw bad(`subPath '${subPath}' leads out of its volume`)
  const path = inside(root, subPath, true)
  if (!existsSync(path)) shared(path)
  return path
}

const bad = (what: string): SluiceError =>
  new SluiceError('SLUICE_POD_VOLUME', `A volume cannot be made: ${what}`, { hint: 'Correct the volume in the pod.' })
