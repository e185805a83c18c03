import { execFile } from 'node:child_process'
import { chownSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { expect, it } from 'vitest'
import { busyboxImage, missingForPods } from '../../images/busybox.test-helper.ts'
import { ControlGroups } from './control-group.ts'

const missing = missingForPods()
const PROGRAM = fileURLToPath(new URL('./ordinary-user.test-process.ts', import.meta.url))
const USER = 12_345

it.skipIf(missing !== undefined)(
  'runs pods as an ordinary user, also where an agent of root has left its control groups',
  async () => {
    using image = busyboxImage()
    const folder = mkdtempSync(join(tmpdir(), 'sluice-ordinary-'))
    try {
      // That of root: an ordinary user sees it, and may make nothing in it.
      expect(new ControlGroups().version).toBeDefined()
      // A checkout may lie where nobody else looks into.
      const program = join(folder, 'program.mjs')
      await build({ entryPoints: [PROGRAM], outfile: program, bundle: true, platform: 'node', format: 'esm' })
      const node = join(folder, 'node')
      copyFileSync(process.execPath, node)
      const archive = join(folder, 'image.tar')
      copyFileSync(image.archive, archive)
      const own = join(folder, 'own')
      mkdirSync(own)
      for (const path of [folder, archive, own]) chownSync(path, USER, USER)
      const ids = ['--reuid', String(USER), '--regid', String(USER), '--clear-groups']
      const { stdout } = await promisify(execFile)('setpriv', [...ids, node, program, own, archive], {
        timeout: 50_000,
        cwd: folder,
      })
      const { uid, exec, said } = JSON.parse(stdout) as { uid: number; exec: number; said: string }
      expect({ uid, exec }).toEqual({ uid: USER, exec: 0 })
      // Root inside, and nothing of the machine: its processes, its files.
      expect(said).toMatch(/stdout F 0\n/)
      expect(said).toMatch(/stdout F [1-4]\n/)
      expect(said).toMatch(/Read-only file system/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)
