import { availableParallelism } from 'node:os'
import { configDefaults, defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Files that mostly wait: for a paced serial line, a lease, a heartbeat, a time-out that is really waited for. Each has
 * houses, folders and ports of its own and takes half a processor at most, so that several run side by side. The longest
 * stand first.
 */
const WAITING = [
  'test/firmware/fleet.test.ts',
  'test/pods/tether.test.ts',
  'test/firmware/flash.test.ts',
  'test/faults/storage.test.ts',
  'test/firmware/ota.test.ts',
  'test/firmware/console.test.ts',
  'test/firmware/ota-verb.test.ts',
  'mappers/ble/mapper-real.test.ts',
  'test/energy/ipmi.test.ts',
  'test/faults/link.test.ts',
  'test/faults/api-outage.test.ts',
  'test/supernode/streams.test.ts',
  'test/pods/own-will.test.ts',
  'test/e2e/bad-start.test.ts',
  'test/e2e/discovery.test.ts',
  'test/security/secrets.test.ts',
  'test/faults/clock.test.ts',
]
const WAITING_WORKERS = Math.max(3, availableParallelism() - 1)

/** In the order of the list, which is known also where nothing has run before, so that the longest is not alone at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => WAITING.findIndex((name) => moduleId.endsWith(`/${name}`))
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b))
  }
}

// Unit and property tests sit beside the code; test/ holds the suites that start real processes.
export default defineConfig({
  test: {
    // Only to end what hangs: longer than the longest wait inside of a test that names no time of its own.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // A browser on a busy machine takes longer than a second to show what it knows.
    expect: { poll: { timeout: 20_000 } },
    setupFiles: ['test/harness/fuzz.setup.ts'],
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'busy',
          include: [
            '{api,mappers,agent,cloudcore,cli,hil,firmware,node-red,console,demo,bench,scripts}/**/*.test.ts',
            'test/**/*.test.ts',
          ],
          exclude: [...configDefaults.exclude, ...WAITING],
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: 'waiting', include: WAITING, maxWorkers: WAITING_WORKERS, sequence: { groupOrder: 2 } },
      },
    ],
  },
})
