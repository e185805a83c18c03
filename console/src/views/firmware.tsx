import { useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { FirmwareView } from '../../../api/console/work.ts'
import type { RolloutDevice } from '../../../api/resources.ts'
import type { PageProps } from '../app.tsx'
import { call } from '../http.ts'
import { Age, Badge, Bar, Failure, Loading, Panel, WhyField } from '../parts/bits.tsx'
import { keyPath } from '../paths.ts'
import { linkTo } from '../route.ts'
import { useStore } from '../store.ts'
import { useAnswer } from '../use-answer.ts'
import { bytes, number, percent, t, word } from '../words.ts'
import { NewRollout } from './new-rollout.tsx'

type Release = FirmwareView['releases'][number]
type Rollout = FirmwareView['rollouts'][number]

/** Releases, how their rollouts go wave by wave and device by device, and what each board runs. */
export function FirmwarePage({ session }: PageProps) {
  const { value, error, again } = useAnswer<FirmwareView>('/v1/firmware', 2_000)
  const [why, setWhy] = useState('')
  const [failure, setFailure] = useState<unknown>(undefined)
  const { devices } = useStore(1_000)
  if (value === undefined) return error === undefined ? <Loading /> : <Failure error={error} />
  const mayHold = mayActAs(session.role, 'operator')
  const act = async (rollout: Rollout, body: object) => {
    setFailure(undefined)
    try {
      await call(`/v1/rollouts/${keyPath(`${rollout.namespace}/${rollout.name}`)}`, { method: 'POST', body, why })
    } catch (thrown) {
      setFailure(thrown)
    }
    again()
  }
  const rollouts = value.rollouts.toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1))
  const releases = value.releases.toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1))
  return (
    <>
      <div class="title">
        <h1>{t('firmware')}</h1>
        <span class="grow" />
        {mayHold && rollouts.length > 0 ? <WhyField why={why} onInput={setWhy} /> : null}
      </div>
      <Failure error={failure ?? error} />
      {rollouts.length === 0 ? (
        <p class="muted">{t('noRollouts')}</p>
      ) : (
        rollouts.map((rollout) => (
          <RolloutPanel
            key={`${rollout.namespace}/${rollout.name}`}
            rollout={rollout}
            release={releases.find(
              ({ namespace, name }) => namespace === rollout.namespace && name === rollout.spec.release,
            )}
            mayHold={mayHold}
            onAct={(body) => void act(rollout, body)}
          />
        ))
      )}
      <Releases releases={releases} />
      {mayActAs(session.role, 'admin') && releases.some(({ status }) => status.state === 'Ready') ? (
        <NewRollout releases={releases} devices={[...devices.values()]} onMade={again} />
      ) : null}
      <Boards rollouts={rollouts} releases={releases} />
    </>
  )
}

type State = RolloutDevice['state']
const ENDED: ReadonlySet<State> = new Set(['confirmed', 'failed', 'rolledBack', 'reverted', 'kept', 'gone'])
const GOOD: ReadonlySet<State> = new Set(['confirmed'])
const BAD: ReadonlySet<State> = new Set(['failed', 'rolledBack', 'kept'])

const toneOf = (state: State): string =>
  GOOD.has(state) ? 'ok' : BAD.has(state) ? 'bad' : state === 'pending' || state === 'gone' ? 'none' : 'wait'

function RolloutPanel({
  rollout,
  release,
  mayHold,
  onAct,
}: {
  readonly rollout: Rollout
  readonly release: Release | undefined
  readonly mayHold: boolean
  readonly onAct: (body: object) => void
}) {
  const { name, namespace, spec, status, createdAt } = rollout
  const devices = status.devices ?? []
  const done = devices.filter(({ state }) => ENDED.has(state)).length
  const bad = devices.filter(({ state }) => BAD.has(state)).length
  const over = status.phase === 'Done' || status.phase === 'RolledBack'
  const phase = spec.paused === true && !over && status.phase !== 'Halted' ? 'Paused' : (status.phase ?? 'Waiting')
  return (
    <Panel
      title={`${t('rollout')}: ${namespace === 'default' ? name : `${namespace}/${name}`}`}
      aside={
        <div class="field">
          <Badge state={phase} title={status.message} />
          {mayHold && !over && status.phase !== 'Halted' ? (
            <button
              type="button"
              aria-label={`${spec.paused === true ? t('resume') : t('pause')}: ${name}`}
              onClick={() => onAct({ paused: spec.paused !== true })}
            >
              {spec.paused === true ? t('resume') : t('pause')}
            </button>
          ) : null}
          {mayHold && devices.some(({ state }) => state === 'confirmed') && spec.rollBack !== true ? (
            <button
              type="button"
              aria-label={`${t('takeBack')}: ${name}`}
              onClick={() => confirm(t('takeBackSure', { name })) && onAct({ rollBack: true })}
            >
              {t('takeBack')}
            </button>
          ) : null}
          {mayHold && bad > 0 && status.phase === 'Halted' ? (
            <button type="button" aria-label={`${t('retryFailed')}: ${name}`} onClick={() => onAct({ retry: true })}>
              {t('retryFailed')}
            </button>
          ) : null}
        </div>
      }
    >
      <p>
        {spec.release}
        {release === undefined ? '' : ` · ${release.spec.board} · ${release.spec.version}`}{' '}
        <span class="muted small">
          <Age at={createdAt} />
        </span>
      </p>
      <Bar
        share={devices.length === 0 ? 0 : done / devices.length}
        label={t('of', { n: done, all: devices.length })}
        warnAt={2}
      />
      {status.message === undefined || status.message === '' ? null : <p class="muted">{status.message}</p>}
      <Waves devices={devices} />
      {devices.length === 0 ? null : (
        <details open={devices.length <= 12 && !over}>
          <summary>{t('devices')}</summary>
          <RolloutDevices namespace={namespace} devices={devices} />
        </details>
      )}
    </Panel>
  )
}

/** A square a device, a row a wave. */
function Waves({ devices }: { readonly devices: readonly RolloutDevice[] }) {
  const stages = [...new Set(devices.map(({ stage }) => stage))].sort((a, b) => a - b)
  return (
    <div class="waves">
      {stages.map((stage) => {
        const own = devices.filter((device) => device.stage === stage)
        const done = own.filter(({ state }) => GOOD.has(state)).length
        const title = stage === 0 ? t('canary') : t('wave', { n: stage })
        return (
          <div class="wave" key={stage}>
            <span>{title}</span>
            <span class="squares" role="img" aria-label={`${title}: ${t('of', { n: done, all: own.length })}`}>
              {own.map(({ name, state, percent: share }) => (
                <span
                  key={name}
                  class={`square ${toneOf(state)}`}
                  title={`${name}: ${word(state)}${share === undefined ? '' : ` ${percent(share / 100)}`}`}
                />
              ))}
            </span>
            <span class="muted num">{t('of', { n: done, all: own.length })}</span>
          </div>
        )
      })}
    </div>
  )
}

function RolloutDevices({
  namespace,
  devices,
}: {
  readonly namespace: string
  readonly devices: readonly RolloutDevice[]
}) {
  return (
    <div class="scroll-x" tabIndex={0} role="group" aria-label={t('devices')}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t('device')}</th>
            <th scope="col">{t('state')}</th>
            <th scope="col" class="wide-only">
              {t('gateway')}
            </th>
            <th scope="col">{t('runs')}</th>
            <th scope="col">{t('stage')}</th>
          </tr>
        </thead>
        <tbody>
          {devices.map(({ name, state, stage, gateway, percent: share, running, message }) => (
            <tr key={name}>
              <td>
                <a href={linkTo('device', `${namespace}/${name}`)}>{name}</a>
                {message === undefined ? null : <p class={BAD.has(state) ? 'reason' : 'muted small'}>{message}</p>}
              </td>
              <td>
                <Badge state={state} />
                {state === 'sending' && share !== undefined ? (
                  <Bar share={share / 100} label={percent(share / 100)} warnAt={2} />
                ) : null}
              </td>
              <td class="wide-only">{gateway ?? '–'}</td>
              <td>{running ?? '–'}</td>
              <td>{stage === 0 ? t('canary') : t('wave', { n: stage })}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Releases({ releases }: { readonly releases: readonly Release[] }) {
  return (
    <Panel title={t('releases')}>
      {releases.length === 0 ? (
        <p class="muted">
          {t('noReleases')} <code>sluice fw ota</code>
        </p>
      ) : (
        <div class="scroll-x" tabIndex={0} role="group" aria-label={t('releases')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('name')}</th>
                <th scope="col">{t('state')}</th>
                <th scope="col">{t('version')}</th>
                <th scope="col">{t('board')}</th>
                <th scope="col" class="wide-only">
                  {t('model')}
                </th>
                <th scope="col" class="num wide-only">
                  {t('size')}
                </th>
              </tr>
            </thead>
            <tbody>
              {releases.map(({ namespace, name, spec, status, createdAt }) => (
                <tr key={`${namespace}/${name}`}>
                  <td>
                    <span class="path">{name}</span> <Age at={createdAt} />
                    {status.message === undefined ? null : (
                      <p class={status.state === 'Ready' ? 'muted small' : 'reason'}>{status.message}</p>
                    )}
                  </td>
                  <td>
                    <Badge state={status.state ?? 'Waiting'} />
                  </td>
                  <td>{spec.version}</td>
                  <td>{spec.board}</td>
                  <td class="wide-only">{spec.model}</td>
                  <td class="num wide-only nowrap">
                    {spec.images.map(({ slot, sizeBytes }) => `${slot} ${bytes(sizeBytes)}`).join(', ')}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  )
}

/** What each board runs, as it said itself in the newest rollout that reached it. */
function Boards({
  rollouts,
  releases,
}: {
  readonly rollouts: readonly Rollout[]
  readonly releases: readonly Release[]
}) {
  const boards = new Map<string, { readonly device: RolloutDevice; readonly board: string; readonly model: string }>()
  for (const { namespace, spec, status } of rollouts) {
    const release = releases.find((each) => each.namespace === namespace && each.name === spec.release)
    for (const device of status.devices ?? []) {
      const key = `${namespace}/${device.name}`
      if (device.running === undefined || boards.has(key)) continue
      boards.set(key, { device, board: release?.spec.board ?? '–', model: release?.spec.model ?? '–' })
    }
  }
  if (boards.size === 0) return null
  return (
    <Panel title={t('boards')} aside={<span class="muted small">{number(boards.size)}</span>}>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={t('boards')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('device')}</th>
              <th scope="col">{t('runs')}</th>
              <th scope="col">{t('board')}</th>
              <th scope="col" class="wide-only">
                {t('model')}
              </th>
              <th scope="col" class="wide-only">
                {t('gateway')}
              </th>
            </tr>
          </thead>
          <tbody>
            {[...boards].sort(byKey).map(([key, { device, board, model }]) => (
              <tr key={key}>
                <td>
                  <a href={linkTo('device', key)}>{key.replace(/^default\//, '')}</a>
                </td>
                <td>{device.running}</td>
                <td>{board}</td>
                <td class="wide-only">{model}</td>
                <td class="wide-only">{device.gateway ?? '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  )
}

const byKey = (a: readonly [string, unknown], b: readonly [string, unknown]): number => (a[0] < b[0] ? -1 : 1)
