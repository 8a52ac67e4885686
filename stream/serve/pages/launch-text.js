// The words of the launch view, in each language, and the sentences made of them.

import { addTexts, count, decimal, has, percent, plainPercent, t } from "./text.js";

const LEAST = 20;

addTexts({
  en: {
    launch: "Launch", ops: "To the ops room", language: "Language", skip: "Skip to the figures",
    "about.by": "{owner}", "since.declared": "launched {at}", "since.minute": "first impressions {at}", "since.hour": "first impressions in the hour of {at}", "since.day": "first impressions on the day of {at}",
    "since.coming": "planned for {at}", "since.over": "its first week is over",
    "age.after": "T + {age}", "age.before": "T − {age}", "age.short": "+{age}", "age.start": "T",
    "measure.impressions": "Impressions", "measure.clicks": "Clicks", "measure.ctr": "Click-through rate", "measure.sessions": "Sessions", "measure.bounce_rate": "Bounce rate",
    "measure.conversions": "Conversions", "measure.conversion_rate": "Conversion rate", "measure.value": "Value",
    "head.ctr": "CTR", "head.bounce_rate": "Bounce", "head.conversion_rate": "Conv. rate",
    "many.impressions": "{n} impressions", "many.clicks": "{n} clicks", "many.sessions": "{n} sessions", "many.conversions": "{n} conversions", "many.value": "a value of {n}",
    "of.target": "{n} of {target}",
    "pace.now": "At {age} {count}", "pace.share": "({share})", "pace.usual": "the median launch had {share}", "pace.usual_own": "the median launch had {share} of its {within} by then", "pace.projected": "projected at {within} {value} ({level}: {low}\u2060–\u2060{high})",
    "pace.few_launches": "no projection: {n} of the launches it is compared with have {within} behind them, and it takes three", "pace.no_launches": "no projection: none of the launches it is compared with has {within} behind it, and it takes three",
    "pace.few_counted": "no projection yet: there is too little to go by, here or there", "pace.join": "; ", "pace.over": "the {within} are over", "pace.not_begun": "it has not begun", "pace.aim": "Aimed at: {count} in {within}",
    "bar.label": "{measure}: {share} of the target", "bar.usual": "median launch: {share}", "bar.target": "target", "bar.projected": "projected at {within}: {n}",
    totals: "Totals since the launch", "total.usual": "median {n}", "total.interval": "{low} to {high}", "rate.few": "{n} of {least}: too few to divide by", "total.cost": "cost {n}",
    controls: "What is drawn", span: "Time shown", "span.2h": "2 hours", "span.2d": "2 days", "span.7d": "7 days", curve: "Curves", "curve.cumulative": "Since the launch", "curve.per_minute": "Per minute",
    "compare.with": "Compared with {n}", "compare.none": "Compared with none", "compare.title": "Earlier launches", "compare.usual": "The last five", "compare.nothing": "No earlier launch is known.",
    freeze: "Link to this moment", "freeze.done": "Copied: a link to {age}.", "freeze.there": "The address is now a link to {age}.", thaw: "Go live", "frozen.text": "Frozen at {at}: figures as they stood at {age}, outcomes of the minutes just before to about 1%; totals and splits have what became of them since.",
    png: "Picture", "png.done": "The picture is saved.", csv: "Sheet (CSV)",
    charts: "Charts", "line.launch": "This launch", "line.median": "Median", "line.low": "10%", "line.high": "90%", "line.projected": "Projected", "line.lower": "80% from", "line.upper": "80% to", "line.needed": "Pace for the target", "key.band": "10–90% of earlier launches", "key.earlier": "Earlier launches", "key.projected": "Projected, 80%",
    "chart.at": "Age", "chart.stood": "as it stood at each moment", "chart.per_minute": "per minute", "chart.within": "within {age}",
    approximate: "Some of these figures are kept by the {resolution} only: curves between are straight lines, and the pace is an approximation.", "resolution.1h": "hour", "resolution.1d": "day",
    "incomplete.yet": "Not all figures have been read yet: what stands here will grow.", "incomplete.now": "Not all partitions are in: these figures are too low, and will catch up by themselves.",
    way: "The way", "way.share": "{share} go on", "way.usual": "median {share}", "way.weakest": "weakest step",
    "way.by_median": "Weakest is the step furthest below the median of the earlier launches at this age: {against}.", "way.none_below": "No step is below the median of the earlier launches at this age; the least above it is at {against}.", "way.by_lowest": "Weakest is the step that the fewest go on from; without three earlier launches there is no median to compare with.", "way.few": "Too few have come so far to tell a weakest step.",
    tags: "Is it tagged right?", "tags.all": "{share} of all {topic} since the launch name no campaign", "tags.one": "{share} of its {topic} name no {dimension}", "tags.none": "no {topic} yet", "topic.clicks": "impressions and clicks", "topic.sessions": "sessions",
    "tags.channels": "Channels", "tags.first": "First event", "tags.last": "Last event", "tags.silent": "silent", "tags.expected": "expected", "tags.unexpected": "not expected", "tags.good": "fine", "tags.look": "look here",
    "dimension.campaign": "campaign", "dimension.channel": "channel", "dimension.variant": "variant", "dimension.creative": "creative",
    channel: "Channel", variant: "Variant", creative: "Creative", split: "Split", "split.by": "By {dimension}", "split.others": "and {n} more",
    before: "Before the launch, since {from}: impressions {impressions}, clicks {clicks}, sessions {sessions}. They are in no figure.",
    "fault.unknown": "There is no campaign “{campaign}”: nothing of it was counted, and nobody has described it.", "fault.none": "Not launched yet: no five minutes in a row had impressions. To set a time: stream campaign set {campaign} --launch-at …", "fault.asked": "This cannot be shown: {why}", "fault.away": "The server does not answer; trying again.",
    "unit.hour": "{n} h", minute: "min",
  },
  fr: {
    launch: "Lancement", ops: "Vers la salle de contrôle", language: "Langue", skip: "Aller aux chiffres",
    "about.by": "{owner}", "since.declared": "lancée le {at}", "since.minute": "premières impressions le {at}", "since.hour": "premières impressions dans l’heure du {at}", "since.day": "premières impressions le jour du {at}",
    "since.coming": "prévue le {at}", "since.over": "sa première semaine est passée",
    "age.after": "T + {age}", "age.before": "T − {age}", "age.short": "+{age}", "age.start": "T",
    "measure.impressions": "Impressions", "measure.clicks": "Clics", "measure.ctr": "Taux de clic", "measure.sessions": "Sessions", "measure.bounce_rate": "Taux de rebond",
    "measure.conversions": "Conversions", "measure.conversion_rate": "Taux de conversion", "measure.value": "Valeur",
    "head.ctr": "Tx de clic", "head.bounce_rate": "Rebond", "head.conversion_rate": "Tx de conv.",
    "many.impressions": "{n} impressions", "many.clicks": "{n} clics", "many.sessions": "{n} sessions", "many.conversions": "{n} conversions", "many.value": "une valeur de {n}",
    "of.target": "{n} sur {target}",
    "pace.now": "À {age} : {count}", "pace.share": "({share})", "pace.usual": "le lancement médian en était à {share}", "pace.usual_own": "le lancement médian en était à {share} de ses {within}", "pace.projected": "prévision à {within} : {value} ({level} : {low}\u2060–\u2060{high})",
    "pace.few_launches": "pas de prévision : {n} des lancements comparés ont {within} derrière eux, il en faut trois", "pace.no_launches": "pas de prévision : aucun des lancements comparés n’a {within} derrière lui, il en faut trois",
    "pace.few_counted": "pas encore de prévision : trop peu de données, ici ou là", "pace.join": " ; ", "pace.over": "les {within} sont passées", "pace.not_begun": "pas encore commencé", "pace.aim": "Objectif : {count} en {within}",
    "bar.label": "{measure} : {share} de l’objectif", "bar.usual": "lancement médian : {share}", "bar.target": "objectif", "bar.projected": "prévision à {within} : {n}",
    totals: "Totaux depuis le lancement", "total.usual": "médiane {n}", "total.interval": "{low} à {high}", "rate.few": "{n} sur {least} : trop peu pour un taux", "total.cost": "coût {n}",
    controls: "Ce qui est tracé", span: "Durée affichée", "span.2h": "2 heures", "span.2d": "2 jours", "span.7d": "7 jours", curve: "Courbes", "curve.cumulative": "Depuis le lancement", "curve.per_minute": "Par minute",
    "compare.with": "Comparé à {n}", "compare.none": "Comparé à aucun", "compare.title": "Lancements précédents", "compare.usual": "Les cinq derniers", "compare.nothing": "Aucun lancement précédent n’est connu.",
    freeze: "Lien vers cet instant", "freeze.done": "Copié : un lien vers {age}.", "freeze.there": "L’adresse est maintenant un lien vers {age}.", thaw: "Revenir au direct", "frozen.text": "Figé le {at} : chiffres tels qu’ils étaient à {age}, à 1 % près pour les résultats des dernières minutes ; totaux et répartitions comptent ce qui est arrivé depuis.",
    png: "Image", "png.done": "L’image est enregistrée.", csv: "Feuille (CSV)",
    charts: "Graphiques", "line.launch": "Ce lancement", "line.median": "Médiane", "line.low": "10 %", "line.high": "90 %", "line.projected": "Prévision", "line.lower": "80 % de", "line.upper": "80 % à", "line.needed": "Rythme de l’objectif", "key.band": "10–90 % des lancements précédents", "key.earlier": "Lancements précédents", "key.projected": "Prévision, 80 %",
    "chart.at": "Âge", "chart.stood": "tel qu’à chaque instant", "chart.per_minute": "par minute", "chart.within": "en {age}",
    approximate: "Une partie de ces chiffres n’est gardée que par {resolution} : entre deux points les courbes sont droites, et le rythme est approximatif.", "resolution.1h": "heure", "resolution.1d": "jour",
    "incomplete.yet": "Tous les chiffres n’ont pas encore été lus : ceux-ci vont monter.", "incomplete.now": "Des partitions manquent : ces chiffres sont trop bas, et se rattraperont d’eux-mêmes.",
    way: "Le parcours", "way.share": "{share} continuent", "way.usual": "médiane {share}", "way.weakest": "étape la plus faible",
    "way.by_median": "La plus faible est l’étape la plus en dessous de la médiane des lancements précédents au même âge : {against}.", "way.none_below": "Aucune étape n’est en dessous de la médiane des lancements précédents au même âge ; la moins au-dessus est à {against}.", "way.by_lowest": "La plus faible est l’étape d’où le moins de monde continue ; sans trois lancements précédents, pas de médiane.", "way.few": "Trop peu de monde jusqu’ici pour désigner une étape.",
    tags: "Le marquage est-il bon ?", "tags.all": "{share} de toutes les {topic} depuis le lancement sont sans campagne", "tags.one": "{share} de ses {topic} sont sans {dimension}", "tags.none": "pas encore de {topic}", "topic.clicks": "impressions et clics", "topic.sessions": "sessions",
    "tags.channels": "Canaux", "tags.first": "Premier événement", "tags.last": "Dernier événement", "tags.silent": "muet", "tags.expected": "attendu", "tags.unexpected": "inattendu", "tags.good": "bien", "tags.look": "à vérifier",
    "dimension.campaign": "campagne", "dimension.channel": "canal", "dimension.variant": "variante", "dimension.creative": "création",
    channel: "Canal", variant: "Variante", creative: "Création", split: "Répartition", "split.by": "Par {dimension}", "split.others": "et {n} autres",
    before: "Avant le lancement, depuis le {from} : impressions {impressions}, clics {clicks}, sessions {sessions}. Aucun chiffre ne les compte.",
    "fault.unknown": "Il n’y a pas de campagne « {campaign} » : rien n’en a été compté, et personne ne l’a décrite.", "fault.none": "Pas encore lancée : il n’y a pas eu cinq minutes de suite avec des impressions. Pour fixer une heure : stream campaign set {campaign} --launch-at …", "fault.asked": "Impossible à afficher : {why}", "fault.away": "Le serveur ne répond pas ; nouvel essai en cours.",
    "unit.hour": "{n} h", minute: "min",
  },
});

// 47 → "47 min", 192 → "3 h 12 min", 3000 → "2 d 2 h"
export function span(minutes) {
  const whole = Math.floor(Math.abs(minutes));
  const parts = whole >= 2880
    ? [["d", Math.floor(whole / 1440)], ["h", Math.floor((whole % 1440) / 60)]]
    : whole >= 120
      ? [["h", Math.floor(whole / 60)], ["min", whole % 60]]
      : [["min", whole]];
  const shown = parts.filter(([, n], i) => n || i === 0);
  return shown.map(([unit, n]) => t(`unit.${unit}`, { n: count(n) })).join(" ");
}

export const age = (minutes) => t(minutes < 0 ? "age.before" : "age.after", { age: span(minutes) });

// "24h" → "24 h": a time as people write it
export function within(text) {
  const [, n, unit] = /^(\d+)(m|h|d)$/.exec(text) ?? [];
  return unit ? t(`unit.${unit === "m" ? "min" : unit}`, { n: count(Number(n)) }) : text;
}

// What is projected is not known to more than two digits.
export function rough(n) {
  if (n < 100) return count(Math.round(n));
  const size = 10 ** (Math.floor(Math.log10(n)) - 1);
  return count(Math.round(n / size) * size);
}

export const measure = (name) => t(`measure.${name}`);
export const heading = (name) => (has(`head.${name}`) ? t(`head.${name}`) : measure(name));
export const money = (n) => count(Math.round(n));

// A rate, once there is enough to divide by: before that it would jump.
export function rate({ value, denominator, low, high }) {
  if (denominator < LEAST) return { text: percent(null), title: t("rate.few", { n: count(denominator), least: count(LEAST) }) };
  return { text: percent(value), title: low === null ? "" : t("total.interval", { low: percent(low), high: percent(high) }) };
}

// A value of a measure, as its unit has it.
export function shown(unit, n, places = 0) {
  if (n === null || n === undefined) return percent(null);
  if (unit === "ratio") return percent(n);
  return unit === "count" && places && n < 100 && n % 1 ? decimal(n) : count(n);
}

// How far a measure has come: what is counted counts when it is whole.
export const whole = ({ measure: one, value }) => (one === "value" ? Math.round(value) : Math.floor(value));

// The pace as pieces of a sentence: [text, strong?].
export function paceSentence(pace, elapsed) {
  const time = within(pace.within);
  if (pace.why === "not_begun") return notBegun(pace, time);
  const n = count(whole(pace));
  const many = pace.target === null ? n : t("of.target", { n, target: count(pace.target) });
  const moment = Math.min(elapsed, pace.within_s / 60);
  const first = t("pace.now", { age: age(moment), count: t(`many.${pace.measure}`, { n: many }) });
  const parts = [pace.share === null ? first : `${first} ${t("pace.share", { share: percent(pace.share, 1) })}`];
  if (pace.usual_share !== null && pace.why !== "over") parts.push(t(pace.target === null ? "pace.usual_own" : "pace.usual", { share: percent(pace.usual_share, 0), within: time }));
  const { projection } = pace;
  if (projection) {
    const [value, low, high] = [projection.value, projection.low, projection.high].map(rough);
    parts.push(t("pace.projected", { within: time, value, low, high, level: plainPercent(projection.level) }));
  } else if (pace.why) {
    const why = pace.why === "few_launches" && !pace.launches ? "no_launches" : pace.why;
    parts.push(t(`pace.${why}`, { n: count(pace.launches), within: time }));
  }
  return parts;
}

function notBegun(pace, time) {
  const aim = pace.target === null ? [] : [t("pace.aim", { count: t(`many.${pace.measure}`, { n: count(pace.target) }), within: time })];
  return [...aim, t("pace.not_begun")];
}
