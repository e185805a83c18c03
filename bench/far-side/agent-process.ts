import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { AGENT_ENVIRONMENT, AGENT_FLAGS } from '../../agent/launch.ts'
import type { Json } from '../../api/resources.ts'
import { requireBuiltins } from '../../scripts/build.ts'

/** Bundles a program as the package does: one ES module and the parts it loads later. Returns its file. */
export async function bundleAgent(entry: URL, folder: string): Promise<string> {
  await build({
    entryPoints: { agent: fileURLToPath(entry) },
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['serialport', 'bufferutil', 'utf-8-validate'],
    plugins: [requireBuiltins],
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    outExtension: { '.js': '.mjs' },
    logLevel: 'silent',
  })
  return join(folder, 'agent.mjs')
}

/** A running agent process, ready. */
export class AgentProcess implements AsyncDisposable {
  readonly child: ChildProcess
  readonly ready: { readonly [key: string]: Json }

  private constructor(child: ChildProcess, ready: { readonly [key: string]: Json }) {
    this.child = child
    this.ready = ready
  }

  static async start(
    file: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<AgentProcess> {
    // What a machine of ours adds to Node's authorities is no gateway's: 0.8 MiB for a hundred and fifty of them.
    const { NODE_EXTRA_CA_CERTS: _, ...inherited } = process.env
    const child = spawn(process.execPath, [...AGENT_FLAGS, file, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...inherited, ...AGENT_ENVIRONMENT, ...env },
    })
    const lines = createInterface({ input: child.stdout })
    const [line] = (await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`the agent ended with ${String(code)} before it was ready`)
      }),
    ])) as [string]
    return new AgentProcess(child, JSON.parse(line) as { readonly [key: string]: Json })
  }

  get pid(): number {
    return this.child.pid!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    this.child.kill('SIGTERM')
    await once(this.child, 'exit')
  }
}
