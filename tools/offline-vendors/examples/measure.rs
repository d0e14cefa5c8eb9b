use offline_vendors::{grammar::*,phrase_book::*,pocketsphinx::*};
use std::time::Instant;
fn wav(p:&str)->Vec<i16>{hound::WavReader::open(p).unwrap().samples::<i16>().map(|s|s.unwrap()).collect()}
fn main(){let book=PhraseBook::built_in();
 let lang=Language::from_code(&std::env::args().nth(1).unwrap()).unwrap();
 let t=Instant::now();let g=Grammar::new(&book,lang).unwrap();eprintln!("grammar {:?} words {}",t.elapsed(),g.pronunciations.len());
 let t=Instant::now();let mut d=Decoder::new(Search::Grammar{jsgf:&g.jsgf,words:&g.pronunciations}).unwrap();eprintln!("decoder {:?}",t.elapsed());
 let t=Instant::now();let mut ph=Decoder::new(Search::Phones).unwrap();eprintln!("phones {:?}",t.elapsed());
 let t=Instant::now();let mut en=if lang==Language::English{Some(Decoder::new(Search::English).unwrap())}else{None};eprintln!("lm {:?}",t.elapsed());
 let (mut tg,mut tp,mut te,mut dur)=(0f64,0f64,0f64,0f64);
 for f in std::env::args().skip(2){let s=wav(&f);dur+=s.len() as f64/16000.;
  let mut run=|d:&mut Decoder,t:&mut f64|{let q=Instant::now();d.start().unwrap();for c in s.chunks(320){d.process(c).unwrap();}d.end().unwrap();let h=d.hypothesis();*t+=q.elapsed().as_secs_f64();h};
  let h=run(&mut d,&mut tg);let segs=d.segments(100);let p=run(&mut ph,&mut tp);let e=en.as_mut().and_then(|e|run(e,&mut te));
  let text:Vec<String>=h.iter().flat_map(|h|h.text.split(' ')).filter_map(|w|g.text_of(w)).filter(|t|!t.is_empty()).map(|s|s.to_owned()).collect();let text=text.join(" ");
  let n=(s.len()/160) as f64;
  let sim=e.as_ref().map(|e|offline_vendors::words::similarity(&e.text,&text));
  println!("{}\t{}\t{}\tphone {:.2}\tsim {:?}\t{}",f.rsplit('/').next().unwrap(),text,book.find(&text,lang).map_or(String::new(),|x|format!("p{}",x.phrase)),h.as_ref().zip(p.as_ref()).map_or(-99.,|(h,p)|(h.score-p.score) as f64/n),sim,e.map_or(String::new(),|e|e.text));let _=segs;
 }
 eprintln!("audio {dur:.1} grammar rtf {:.3} phones {:.3} lm {:.3}",tg/dur,tp/dur,te/dur);
}
