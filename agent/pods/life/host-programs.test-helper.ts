import { existsSync, realpathSync } from 'node:fs'
import type { PodContainer, PodVolume } from '../../../api/link/pods.ts'

/** Volumes and mounts that bring a program of this machine, with its libraries, into a container as `/NAME`. */
export function hostProgram(
  path: string,
  name: string,
): { readonly volumes: readonly PodVolume[]; readonly mounts: NonNullable<PodContainer['volumeMounts']> } {
  const folders = ['/lib', '/lib64', '/usr/lib'].filter((folder) => existsSync(folder))
  const nameOf = (folder: string) => folder.slice(1).replace('/', '-')
  return {
    volumes: [
      { name: 'program', hostPath: { path: realpathSync(path) } },
      ...folders.map((folder) => ({ name: nameOf(folder), hostPath: { path: realpathSync(folder) } })),
    ],
    mounts: [
      { name: 'program', mountPath: `/${name}`, readOnly: true },
      ...folders.map((folder) => ({ name: nameOf(folder), mountPath: folder, readOnly: true })),
    ],
  }
}
