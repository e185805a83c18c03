import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from './until.ts'

/**
 * Resolves when nothing of a pod is left below a gateway's `--pods-dir`: its object is gone before its box is, and an agent
 * that ends in between leaves that to the next one, which a test does not start.
 */
export async function boxesGone(podsDir: string): Promise<void> {
  const homes = [podsDir, join(podsDir, 'wasm')].map((folder) => join(folder, 'sandboxes'))
  await eventually(
    () => homes.every((home) => !existsSync(home) || readdirSync(home).length === 0),
    'the boxes of all pods are cleared away',
  )
}
