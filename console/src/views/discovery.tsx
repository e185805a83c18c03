import { useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { SightedItem } from '../../../api/link/sighted.ts'
import type { DiscoveredDevice } from '../../../api/resources.ts'
import type { PageProps } from '../app.tsx'
import { call } from '../http.ts'
import { Age, Badge, Failure, Loading, Panel, WhyField } from '../parts/bits.tsx'
import { linkTo } from '../route.ts'
import { useAnswer } from '../use-answer.ts'
import { figure, t } from '../words.ts'

/** What was seen, alike from a gateway and from the cloud core. */
interface Found {
  readonly key: string
  readonly id: string
  readonly name: string | undefined
  readonly protocol: string
  readonly gateway: string | undefined
  readonly state: string
  readonly candidates: readonly { readonly model: string; readonly score: number; readonly why: string }[]
  readonly rssiDbm: number | undefined
  readonly lastSeen: string | undefined
  readonly device: string | undefined
  readonly trouble: string | undefined
  readonly path: string | undefined
}

export function DiscoveryPage({ session }: PageProps) {
  const { value, error, again } = useAnswer<{ items: (DiscoveredDevice | SightedItem)[] }>('/v1/discovered', 3_000)
  const [chosen, setChosen] = useState<string | undefined>(undefined)
  const found = (value?.items ?? []).map(foundOf)
  const mayApprove = session.kind === 'cloud' && mayActAs(session.role, 'operator')
  return (
    <>
      <div class="title">
        <h1>{t('discovery')}</h1>
      </div>
      {session.kind === 'gateway' ? <p class="muted">{t('approveInCloud')}</p> : null}
      <Failure error={error} />
      {value === undefined ? (
        error === undefined ? (
          <Loading />
        ) : null
      ) : found.length === 0 ? (
        <p class="muted">{t('nothingFound')}</p>
      ) : (
        <ul class="found">
          {found.map((each) => (
            <li key={each.key} class="panel">
              <div class="found-head">
                <b>{each.name ?? each.id}</b>
                <Badge state={each.state} />
                <span class="muted small">
                  {each.protocol}
                  {each.gateway === undefined ? '' : ` · ${each.gateway}`}
                  {each.rssiDbm === undefined ? '' : ` · ${figure(each.rssiDbm, 'dBm', 0)}`}
                </span>
                <span class="grow" />
                <Age at={each.lastSeen} />
              </div>
              {each.name === undefined ? null : <p class="muted small path">{each.id}</p>}
              {each.candidates[0] === undefined ? null : (
                <p>
                  {t('resembles')} <b>{each.candidates[0].model}</b>{' '}
                  <span class="muted small">{each.candidates[0].why}</span>
                </p>
              )}
              {each.device === undefined ? null : (
                <p>
                  <a href={linkTo('device', each.device)}>{each.device}</a>
                </p>
              )}
              {each.trouble === undefined ? null : <p class="failure">{each.trouble}</p>}
              {mayApprove && each.device === undefined && each.path !== undefined ? (
                chosen === each.key ? (
                  <Approval
                    found={each}
                    path={each.path}
                    onDone={() => {
                      setChosen(undefined)
                      again()
                    }}
                  />
                ) : (
                  <button
                    type="button"
                    aria-label={t('approveAs', { name: each.name ?? each.id })}
                    onClick={() => setChosen(each.key)}
                  >
                    {t('approve')}
                  </button>
                )
              ) : null}
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

function foundOf(item: DiscoveredDevice | SightedItem): Found {
  if (!('spec' in item)) {
    const { protocol, id, name, candidates, rssiDbm, atMs } = item
    const none = { gateway: undefined, device: undefined, trouble: undefined, path: undefined }
    return {
      ...none,
      key: `${protocol}/${id}`,
      id,
      name,
      protocol,
      state: 'new',
      candidates,
      rssiDbm,
      lastSeen: new Date(atMs).toISOString(),
    }
  }
  const { metadata, spec, status } = item
  const namespace = metadata.namespace ?? 'default'
  const refused = status?.conditions?.find(({ type, status: holds }) => type === 'Approved' && holds === 'False')
  return {
    key: `${namespace}/${metadata.name}`,
    id: spec.id,
    name: spec.name,
    protocol: spec.protocol,
    gateway: spec.gateway,
    state: status?.state ?? 'new',
    candidates: spec.candidates ?? [],
    rssiDbm: status?.rssiDbm,
    lastSeen: status?.lastSeen,
    device: status?.device,
    trouble: refused?.message,
    path: `/v1/discovered/${encodeURIComponent(namespace)}/${encodeURIComponent(metadata.name)}/approve`,
  }
}

function Approval({
  found,
  path,
  onDone,
}: {
  readonly found: Found
  readonly path: string
  readonly onDone: () => void
}) {
  const [model, setModel] = useState(found.candidates[0]?.model ?? '')
  const [name, setName] = useState('')
  const [why, setWhy] = useState('')
  const [error, setError] = useState<unknown>(undefined)
  const { value } = useAnswer<{ items: { namespace: string; name: string }[] }>('/v1/catalogue')
  const send = async (body: object) => {
    setError(undefined)
    try {
      await call(path, { method: 'POST', body, why })
      onDone()
    } catch (thrown) {
      setError(thrown)
    }
  }
  return (
    <Panel title={t('approveAs', { name: found.name ?? found.id })}>
      <form
        class="approval"
        onSubmit={(event) => {
          event.preventDefault()
          void send({ model, name })
        }}
      >
        <label>
          {t('deviceName')}
          <input
            required
            value={name}
            spellcheck={false}
            pattern="[a-z0-9]([a-z0-9.\-]*[a-z0-9])?"
            title={t('nameHint')}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <label>
          {t('model')}
          <input
            required
            list="models"
            value={model}
            spellcheck={false}
            onInput={(event) => setModel(event.currentTarget.value)}
          />
          <datalist id="models">
            {(value?.items ?? []).map((each) => (
              <option key={`${each.namespace}/${each.name}`} value={each.name} />
            ))}
          </datalist>
        </label>
        <WhyField why={why} onInput={setWhy} />
        <div class="field">
          <button type="submit" class="primary">
            {t('approve')}
          </button>
          <button type="button" onClick={() => void send({ ignore: true })}>
            {t('ignore')}
          </button>
          <button type="button" onClick={onDone}>
            {t('cancel')}
          </button>
        </div>
        <Failure error={error} />
      </form>
    </Panel>
  )
}
