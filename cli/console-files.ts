import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { consoleFolder } from '../api/console/static-files.ts'

/** In a clone, builds the console when there is none or its sources are newer; the package brings it along. */
export function builtConsole(): void {
  if (!import.meta.url.endsWith('.ts')) return
  const builder = fileURLToPath(new URL('../console/build.ts', import.meta.url))
  if (!existsSync(builder)) return
  const page = join(consoleFolder(), 'index.html')
  const builtMs = existsSync(page) ? statSync(page).mtimeMs : 0
  const sources = fileURLToPath(new URL('../console/src/', import.meta.url))
  const names = readdirSync(sources, { recursive: true, encoding: 'utf8' })
  if (names.every((name) => statSync(join(sources, name)).mtimeMs <= builtMs)) return
  // What goes wrong is told by whoever is asked for the page.
  spawnSync(process.execPath, [builder], { stdio: 'ignore', timeout: 60_000 })
}
