import { useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { PlanExplanation } from '../../../api/views.ts'
import type { PageProps } from '../app.tsx'
import { call } from '../http.ts'
import { Badge, Bar, Failure, Loading, Panel, WhyField } from '../parts/bits.tsx'
import { useNarrow } from '../parts/virtual-table.tsx'
import { keyPath } from '../paths.ts'
import { inGerman } from '../plan-words.ts'
import { type Cell, ROW_CELLS, registerMap, type TableMap } from '../register-map.ts'
import { linkTo } from '../route.ts'
import { useStore } from '../store.ts'
import { useAnswer } from '../use-answer.ts'
import { figure, percent, span, t } from '../words.ts'

/** What is read together from a device, drawn on its register map; and what it would be with another period. */
export function PlanPage({ session, id }: PageProps) {
  const known = useStore()
  const device = known.devices.get(id)
  const narrow = useNarrow()
  const [wanted, setWanted] = useState<Wanted | undefined>(undefined)
  const path = `/v1/plan/${keyPath(id)}`
  const { value: plan, error } = useAnswer<PlanExplanation>(path, 5_000)
  const tried = useAnswer<PlanExplanation>(wanted === undefined ? undefined : `${path}?${queryOf(wanted)}`)
  const shown = wanted === undefined ? plan : (tried.value ?? plan)
  const properties = device === undefined ? [] : (known.modelOf(device)?.spec.properties ?? [])
  const other = wanted === undefined || tried.value === undefined ? undefined : tried.value
  return (
    <>
      <div class="title">
        <h1>{t('plan')}</h1>
        <a href={linkTo('device', id)}>{id}</a>
        {other === undefined ? null : <Badge state="trial" />}
      </div>
      <Failure error={tried.error ?? error} />
      {shown === undefined || plan === undefined ? (
        error === undefined ? (
          <Loading />
        ) : null
      ) : plan.requests.length === 0 ? (
        <p class="muted">{t('noPlan')}</p>
      ) : (
        <>
          <Load plan={plan} other={other} />
          <Periods
            {...{ session, id }}
            names={[...new Set(plan.requests.flatMap((request) => request.properties))].sort()}
            wanted={wanted}
            onWant={setWanted}
          />
          {registerMap(shown.requests, properties, narrow ? NARROW_CELLS : ROW_CELLS, shown.holes).map((map) => (
            <Registers key={map.table} map={map} />
          ))}
          <Requests plan={shown} />
          {shown.notes.length === 0 ? null : (
            <Panel title={t('notices')}>
              <ul class="notices">
                {shown.notes.map((note) => (
                  <li key={note}>{inGerman(note)}</li>
                ))}
              </ul>
            </Panel>
          )}
        </>
      )}
    </>
  )
}

interface Wanted {
  readonly every: string
  /** Absent: everything that says no period of its own. */
  readonly property: string | undefined
}

const queryOf = ({ every, property }: Wanted): string =>
  new URLSearchParams({ every, ...(property === undefined ? {} : { property }) }).toString()

const PERIODS = ['100ms', '250ms', '500ms', '1s', '2s', '5s', '10s', '30s', '1m', '5m', '15m', '1h'] as const

const spaced = (period: string): string => period.replace(/(\d)([a-z])/, '$1\u202f$2')

/** Another period, tried at once on the plan; for the whole device it can be kept. */
function Periods({
  session,
  id,
  names,
  wanted,
  onWant,
}: {
  readonly session: PageProps['session']
  readonly id: string
  readonly names: readonly string[]
  readonly wanted: Wanted | undefined
  readonly onWant: (wanted: Wanted | undefined) => void
}) {
  const [property, setProperty] = useState('')
  const [why, setWhy] = useState('')
  const [done, setDone] = useState('')
  const [error, setError] = useState<unknown>(undefined)
  const mayKeep = session.kind === 'cloud' && mayActAs(session.role, 'operator')
  const want = (every: string, of: string) => {
    setDone('')
    setError(undefined)
    onWant(every === '' ? undefined : { every, property: of === '' ? undefined : of })
  }
  const keep = async () => {
    if (wanted === undefined) return
    try {
      await call(`/v1/devices/${keyPath(id)}/poll`, { method: 'POST', body: { every: wanted.every }, why })
      onWant(undefined)
      setDone(t('periodKept', { every: spaced(wanted.every) }))
    } catch (thrown) {
      setError(thrown)
    }
  }
  return (
    <Panel title={t('tryPeriod')}>
      <div class="field">
        <label>
          {t('readEvery')}{' '}
          <select value={wanted?.every ?? ''} onChange={(event) => want(event.currentTarget.value, property)}>
            <option value="">{t('asItIs')}</option>
            {PERIODS.map((each) => (
              <option key={each} value={each}>
                {spaced(each)}
              </option>
            ))}
          </select>
        </label>
        <label>
          {t('ofWhat')}{' '}
          <select
            value={property}
            onChange={(event) => {
              setProperty(event.currentTarget.value)
              if (wanted !== undefined) want(wanted.every, event.currentTarget.value)
            }}
          >
            <option value="">{t('wholeDevice')}</option>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        {mayKeep && wanted !== undefined && wanted.property === undefined ? (
          <>
            <WhyField why={why} onInput={setWhy} />
            <button type="button" class="primary" onClick={() => void keep()}>
              {t('keep')}
            </button>
          </>
        ) : null}
        <span class="muted small" role="status">
          {done !== ''
            ? done
            : wanted?.property !== undefined
              ? t('keptInModel')
              : wanted !== undefined && session.kind === 'gateway'
                ? t('keptInCloud')
                : ''}
        </span>
      </div>
      <Failure error={error} />
    </Panel>
  )
}

function Load({ plan, other }: { readonly plan: PlanExplanation; readonly other: PlanExplanation | undefined }) {
  const scale = Math.max(1, plan.naiveLoad, other?.naiveLoad ?? 0)
  const bar = (title: string, load: number) => (
    <>
      <span>{title}</span>
      <Bar share={load / scale} label={percent(load, 1)} warnAt={2} />
    </>
  )
  return (
    <Panel title={`${t('ofLimit')}: ${inGerman(plan.link)}`}>
      <div class="loads">
        {bar(t('planned'), plan.load)}
        {other === undefined ? null : bar(t('tried'), other.load)}
        {bar(t('naive'), (other ?? plan).naiveLoad)}
      </div>
    </Panel>
  )
}

const TONES = 6
/** On a phone: a name fits into a cell. */
const NARROW_CELLS = 4

function Registers({ map }: { readonly map: TableMap }) {
  return (
    <Panel
      title={`${t('registers')}: ${map.table}`}
      aside={
        <span class="muted small legend">
          <span class="swatch tone-0" aria-hidden="true" /> {t('used')}{' '}
          <span class="swatch filler" aria-hidden="true" /> {t('filler')}
          {map.rows.some(({ cells }) => cells.some(({ refused }) => refused)) ? (
            <>
              {' '}
              <span class="swatch refused" aria-hidden="true" /> {t('refusedRegister')}
            </>
          ) : null}
        </span>
      }
    >
      <div class="registers" role="table" aria-label={`${t('registers')}: ${map.table}`} tabIndex={0}>
        {map.rows.map(({ start, cells }) => (
          <div class="registers-row" role="row" key={start}>
            <span class="address" role="rowheader">
              {hex(start)}
            </span>
            {cells.map((cell, at) => (
              <RegisterCell key={cell.address} cell={cell} before={cells[at - 1]} />
            ))}
          </div>
        ))}
      </div>
    </Panel>
  )
}

function RegisterCell({ cell, before }: { readonly cell: Cell; readonly before: Cell | undefined }) {
  const { address, request, property, refused = false } = cell
  const same = before?.property === property && before?.request === request
  const tone = refused
    ? 'refused'
    : request === undefined
      ? 'hole'
      : property === undefined
        ? 'filler'
        : `tone-${request % TONES}`
  const about = refused ? t('refusedRegister') : (property ?? t('filler'))
  const words = request === undefined && !refused ? '' : `${hex(address)} ${about}`
  return (
    <span class={`register ${tone}${same && request !== undefined ? ' same' : ''}`} role="cell" title={words}>
      {refused ? '✕' : property !== undefined && !same ? property : ''}
    </span>
  )
}

const hex = (address: number): string => `0x${address.toString(16).toUpperCase().padStart(4, '0')}`

function Requests({ plan }: { readonly plan: PlanExplanation }) {
  return (
    <Panel title={t('requests')}>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={t('requests')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('request')}</th>
              <th scope="col" class="num">
                {t('every')}
              </th>
              <th scope="col" class="num">
                {t('busTime')}
              </th>
              <th scope="col">{t('properties')}</th>
            </tr>
          </thead>
          <tbody>
            {plan.requests.map((request, index) => (
              <tr key={`${request.request}${request.everyMs}`}>
                <td>
                  <span class={`swatch tone-${index % TONES}`} aria-hidden="true" /> {inGerman(request.request)}
                  <p class="muted small">{inGerman(request.why)}</p>
                </td>
                <td class="num">{request.everyMs < 1000 ? figure(request.everyMs, 'ms', 0) : span(request.everyMs)}</td>
                <td class="num">{figure(request.busMs, 'ms')}</td>
                <td class="path">{request.properties.join(', ')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  )
}
